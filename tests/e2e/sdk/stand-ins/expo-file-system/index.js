exports.EncodingType = { Base64: "base64" };
