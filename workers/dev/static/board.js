/** The shared board: the page around the cards. It is written with Appwrite's web SDK and knows nothing but the project. */
import { Client, ID } from "/dev/static/appwrite.js";
import { Cards } from "/dev/static/cards.js";
import { Connection } from "/dev/static/connection.js";
import { editTitle } from "/dev/static/edit.js";
import { Here } from "/dev/static/here.js";
import { People } from "/dev/static/people.js";
import { Pictures } from "/dev/static/pictures.js";

const COLUMNS = [
  { id: "todo", title: "To do" },
  { id: "doing", title: "Doing" },
  { id: "done", title: "Done" },
];
const STATES = { connecting: "connecting", connected: "live", waiting: "reconnecting" };
const WAYS = {
  guest: { button: "Join", hint: "Join to add and move cards. A guest needs no more than a name." },
  "sign-up": { button: "Sign up", hint: "Sign up to add and move cards, and to come back to your own from anywhere." },
  "log-in": { button: "Log in", hint: "Log in to come back to your own cards, also to those that only you see." },
};
const ACTIVITY_LENGTH = 50;

const $ = (selector, root = document) => root.querySelector(selector);

let people = null;
let cards = null;
let pictures = null;
let here = null;
let connection = null;
let person = null;
// What went wrong last: of what somebody asked for, and of what the page loads by itself.
const problems = { action: null, load: null };
const items = new Map();
const lists = new Map();

function titleOf(column) {
  return COLUMNS.find(({ id }) => id === column)?.title ?? column;
}

/** Give an avatar the initial of a name, and a colour that the name always has. */
function paint(avatar, name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  avatar.style.setProperty("--hue", hue);
  avatar.textContent = ([...name][0] ?? "?").toUpperCase();
}

function showProblem() {
  const { action, load } = problems;
  const problem = $("#problem");
  problem.textContent = action?.message ?? (load ? `Not all of the board could be loaded: ${load.message}` : "");
  problem.hidden = !action && !load;
}

/** Tell what somebody asked for and did not get; null once something else has succeeded. */
function complain(error) {
  problems.action = error;
  // What works again may be what could not be loaded.
  if (!error && problems.load) connection.reload();
  showProblem();
}

/** Do what somebody asked for, and return whether it was done; what goes wrong is told at the top of the page. */
async function attempt(action) {
  try {
    await action();
    complain(null);
    return true;
  } catch (error) {
    complain(error);
    render();
    return false;
  }
}

function mayDelete(row) {
  return person !== null && row.$permissions.includes(`delete("user:${person.$id}")`);
}

function isPrivate(row) {
  return !row.$permissions.includes('read("any")');
}

// The columns and cards

function buildColumn(column) {
  const root = $("#column-template").content.cloneNode(true).firstElementChild;
  const list = $(".cards", root);
  const form = $(".add", root);
  root.dataset.column = column.id;
  $("h2", root).textContent = column.title;
  list.setAttribute("aria-label", column.title);
  form.elements.title.placeholder = "Add a card";
  form.elements.title.setAttribute("aria-label", `New card in ${column.title}`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add(form, column.id);
  });
  prepareFile(form, column);
  acceptDrops(list, column.id);
  lists.set(column.id, list);
  $("#board").append(root);
}

function prepareFile(form, column) {
  const { picture } = form.elements;
  const showName = () => {
    const [file] = picture.files;
    $(".chosen", form).textContent = file?.name ?? "";
    $(".chosen-foot", form).hidden = !file;
  };
  picture.accept = Pictures.accept;
  picture.setAttribute("aria-label", `Picture for the new card in ${column.title}`);
  picture.addEventListener("change", showName);
  form.addEventListener("reset", () => queueMicrotask(showName));
  $(".unchoose", form).addEventListener("click", () => {
    picture.value = "";
    showName();
    picture.focus();
  });
}

/** Make a card of what was typed; what goes wrong leaves it where it is, to be tried again. */
async function add(form, column) {
  const { title: field, private: onlyMe, picture, send } = form.elements;
  const title = field.value.trim();
  if (!title || send.disabled) return;
  const card = { id: ID.unique(), column, title, isPrivate: onlyMe.checked, person };
  const [file] = picture.files;
  if (!file) {
    form.reset();
    await attempt(() => cards.add(card));
    return;
  }
  send.disabled = true;
  await attempt(async () => {
    // First, so that nobody sees the card without it.
    await pictures.add({ ...card, file });
    try {
      await cards.add(card);
    } catch (error) {
      await pictures.remove(card.id);
      throw error;
    }
    form.reset();
  });
  send.disabled = false;
}

async function remove(id) {
  const row = cards.get(id);
  const hadPicture = row !== undefined && pictures.has(row);
  await cards.remove(id);
  if (hadPicture) await pictures.remove(id);
}

function acceptDrops(list, column) {
  list.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("text/x-card")) return;
    event.preventDefault();
    list.classList.add("target");
  });
  list.addEventListener("dragleave", (event) => {
    if (!list.contains(event.relatedTarget)) list.classList.remove("target");
  });
  list.addEventListener("drop", (event) => {
    event.preventDefault();
    list.classList.remove("target");
    const id = event.dataTransfer.getData("text/x-card");
    const others = [...list.children].filter((item) => item.dataset.id !== id);
    const below = others.findIndex((item) => {
      const { top, height } = item.getBoundingClientRect();
      return event.clientY < top + height / 2;
    });
    const index = below === -1 ? others.length : below;
    if (cards.get(id)) attempt(() => cards.move({ id, column, index, person }));
  });
}

function buildItem(id) {
  const item = $("#card-template").content.cloneNode(true).firstElementChild;
  item.dataset.id = id;
  item.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData("text/x-card", id);
    event.dataTransfer.effectAllowed = "move";
    item.classList.add("dragged");
  });
  item.addEventListener("dragend", () => item.classList.remove("dragged"));
  item.addEventListener("animationend", () => item.classList.remove("fresh"));
  $(".tools", item).addEventListener("click", ({ target }) => {
    const tool = target.dataset.tool;
    if (tool === "edit") edit(item);
    if (tool === "delete") attempt(() => remove(id));
    if (tool === "back" || tool === "on") step(item, tool === "on" ? 1 : -1, target);
  });
  $(".picture", item).addEventListener("click", () => enlarge(id));
  // Somebody else's program may have uploaded what is no picture; errors do not bubble.
  $(".picture img", item).addEventListener("error", ({ target }) => {
    target.dataset.broken = target.dataset.address;
    render();
  });
  return item;
}

/** Show a picture as large as the window; Escape, or a click, ends that. */
function enlarge(id) {
  const row = cards.get(id);
  const viewer = $("#viewer");
  $("img", viewer).src = pictures.full(id);
  $("img", viewer).alt = $("#viewer-title").textContent = row.title;
  viewer.dataset.id = id;
  viewer.showModal();
}

/** Move a card to the end of the next column, and keep the focus on it. */
async function step(item, distance, button) {
  const { column } = cards.get(item.dataset.id);
  const next = COLUMNS[COLUMNS.findIndex(({ id }) => id === column) + distance].id;
  await attempt(() => cards.move({ id: item.dataset.id, column: next, index: Infinity, person }));
  (button.disabled ? $("[data-tool]:enabled", item) : button).focus();
}

/** Let somebody write over the title of a card. */
function edit(item) {
  const id = item.dataset.id;
  item.draggable = false;
  editTitle($("#edit-template"), $(".title", item), {
    id,
    save: async (title) => title === cards.get(id)?.title || attempt(() => cards.retitle({ id, title, person })),
    closed: (hadFocus) => {
      render();
      if (hadFocus) $("[data-tool=edit]", item).focus();
    },
  });
}

function fillPicture(button, row) {
  const image = $("img", button);
  const address = pictures.has(row) ? pictures.thumbnail(row.$id) : "";
  button.hidden = !address || image.dataset.broken === address;
  button.setAttribute("aria-label", `Show the picture of ${row.title}`);
  if (image.dataset.address === address) return;
  image.dataset.address = address;
  if (address) image.src = address;
  else image.removeAttribute("src");
}

function fill(item, row) {
  fillPicture($(".picture", item), row);
  const title = $(".title", item);
  if (title) title.textContent = row.title;
  item.draggable = person !== null && title !== null;
  $(".badge", item).hidden = !isPrivate(row);
  paint($(".avatar", item), row.by);
  const by = row.changedBy === row.by ? row.by : `${row.by}, then ${row.changedBy}`;
  $(".by", item).textContent = by;
  $(".by", item).title = by;
  const at = COLUMNS.findIndex(({ id }) => id === row.column);
  const name = (tool, text) => {
    const button = $(`[data-tool=${tool}]`, item);
    button.setAttribute("aria-label", `${text}: ${row.title}`);
    return button;
  };
  name("back", `Move to ${COLUMNS[at - 1]?.title ?? "nowhere"}`).disabled = at === 0;
  name("on", `Move to ${COLUMNS[at + 1]?.title ?? "nowhere"}`).disabled = at === COLUMNS.length - 1;
  name("edit", "Edit");
  name("delete", "Delete").hidden = !mayDelete(row);
}

/** Bring the page in line with the cards; elements stay what they are, so that focus and animations survive. */
function render() {
  const shown = new Set();
  for (const { id: column } of COLUMNS) {
    const list = lists.get(column);
    const rows = cards.in(column);
    rows.forEach((row, index) => {
      if (!items.has(row.$id)) items.set(row.$id, buildItem(row.$id));
      const item = items.get(row.$id);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
      fill(item, row);
      shown.add(row.$id);
    });
    list.nextElementSibling.hidden = person === null;
    list.previousElementSibling.querySelector(".count").textContent = rows.length;
  }
  for (const [id, item] of items) {
    if (shown.has(id)) continue;
    item.remove();
    items.delete(id);
    if ($("#viewer").dataset.id === id) $("#viewer").close();
  }
}

// What happened

function describe(action, before, row) {
  const title = `“${row.title}”`;
  if (action === "create") return `${row.by} added ${title} to ${titleOf(row.column)}`;
  if (action === "delete") return `${row.by} deleted ${title}`;
  if (before && before.column !== row.column) return `${row.changedBy} moved ${title} to ${titleOf(row.column)}`;
  if (before && before.title !== row.title) return `${row.changedBy} renamed “${before.title}” to ${title}`;
  return `${row.changedBy} moved ${title} within ${titleOf(row.column)}`;
}

function tell(text) {
  const entry = document.createElement("li");
  const what = document.createElement("span");
  const when = document.createElement("time");
  what.textContent = text;
  when.textContent = new Date().toLocaleTimeString();
  entry.append(what, when);
  $("#activity").prepend(entry);
  while ($("#activity").children.length > ACTIVITY_LENGTH) $("#activity").lastElementChild.remove();
}

// People

/** Bring the list of who is here in line; who stays keeps their place on the page. */
function renderHere() {
  const list = $("#here ul");
  const found = here.people();
  $("#here").hidden = found.length === 0;
  $("#here .count").textContent = found.length;
  const entries = new Map([...list.children].map((entry) => [entry.dataset.id, entry]));
  for (const { id, name, isMe } of found) {
    const entry = entries.get(id) ?? $("#here-template").content.cloneNode(true).firstElementChild;
    entries.delete(id);
    entry.dataset.id = id;
    paint($(".avatar", entry), name);
    $(".name", entry).textContent = isMe ? `${name} (you)` : name;
    list.append(entry);
  }
  for (const entry of entries.values()) entry.remove();
}

function chooseWay(way) {
  const form = $("#join");
  form.dataset.way = way;
  for (const field of form.querySelectorAll(".field")) {
    field.hidden = !field.classList.contains(`for-${way}`);
    $("input", field).disabled = field.hidden;
  }
  $("#password").autocomplete = way === "sign-up" ? "new-password" : "current-password";
  $("button", form).textContent = WAYS[way].button;
  $("#welcome-hint").textContent = WAYS[way].hint;
  $("#join-error").textContent = "";
}

async function join(form) {
  const values = Object.fromEntries(new FormData(form));
  const error = $("#join-error");
  const button = $("button", form);
  error.textContent = "";
  button.disabled = true;
  try {
    const ways = { guest: "joinAsGuest", "sign-up": "signUp", "log-in": "logIn" };
    await people[ways[values.way]](values);
    form.reset();
    chooseWay("guest");
    await enter();
    complain(null);
  } catch (problem) {
    error.textContent = problem.message;
  } finally {
    button.disabled = false;
  }
}

/** Show the board as whoever is logged in now sees it. */
async function enter() {
  // Whoever began to edit was somebody else.
  for (const cancel of document.querySelectorAll(".edit .cancel")) cancel.click();
  person = await people.current();
  $("#welcome").hidden = person !== null;
  $("#person").hidden = person === null;
  $("#board").classList.toggle("member", person !== null);
  if (person) {
    $("#person .name").textContent = person.email ? person.name : `${person.name} (guest)`;
    paint($("#person .avatar"), person.name);
  }
  // What they may do shows at once, not only when the cards have been loaded.
  render();
  await connection.open(person, person && Here.presenceOf(person));
}

function showState(state) {
  $("#state").dataset.state = state;
  $("#state").textContent = STATES[state];
}

async function start() {
  const { project } = await (await fetch("/dev/project.json")).json();
  const client = new Client().setEndpoint(`${location.origin}/v1`).setProject(project);
  people = new People(client);
  cards = new Cards(client, {
    changed: render,
    happened: (action, before, row) => {
      tell(describe(action, before, row));
      queueMicrotask(() => items.get(row.$id)?.classList.add("fresh"));
    },
  });
  pictures = new Pictures(client, render);
  here = new Here(client, renderHere);
  connection = new Connection(client, [cards, pictures, here], {
    state: showState,
    loaded: (error) => {
      problems.load = error ?? null;
      showProblem();
    },
  });
  COLUMNS.forEach(buildColumn);
  $("#join").addEventListener("submit", (event) => {
    event.preventDefault();
    join(event.target);
  });
  for (const radio of document.querySelectorAll("input[name=way]")) {
    radio.addEventListener("change", () => chooseWay(radio.value));
  }
  $("#leave").addEventListener("click", () => attempt(async () => {
    await people.leave();
    await enter();
  }));
  const viewer = $("#viewer");
  viewer.addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => $("img", viewer).removeAttribute("src"));
  chooseWay("guest");
  await enter();
}

start().catch(complain);
