// The SDK asks only for the platform: it names the app in the Origin header.
exports.Platform = { OS: "ios" };
