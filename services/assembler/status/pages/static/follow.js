// Keeps the page as the server would draw it now: the socket says when to redraw, the server says what.
// Without a socket the page is fetched every few seconds; without this script it stays as it was loaded.

import { morph } from "./morph.js";

const REDRAW_MS = 700;
const POLL_MS = 3000;
const LIST_POLL_MS = 2000;
const LONGEST_RETRY_MS = 15000;
const chip = document.getElementById("connection");

let drawing = false;
let again = false;
let timer = 0;

function redrawSoon() {
  if (timer) {
    again = true;
    return;
  }
  redraw();
  timer = setTimeout(() => {
    timer = 0;
    if (again) {
      again = false;
      redrawSoon();
    }
  }, REDRAW_MS);
}

async function redraw() {
  if (drawing) {
    again = true;
    return;
  }
  drawing = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.status === 404) location.assign("/");
    if (!answer.ok) throw new Error(String(answer.status));
    draw(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } finally {
    drawing = false;
  }
}

function draw(fresh) {
  if (document.title !== fresh.title) document.title = fresh.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    if (next) morph(old, next);
  }
  for (const next of fresh.querySelectorAll("[data-live]")) {
    // A new part of the page: redraw the whole page.
    if (!document.getElementById(next.id)) {
      morph(document.getElementById("main"), fresh.getElementById("main"));
      return;
    }
  }
}

function say(state) {
  if (!chip) return;
  const words = {
    live: ["good", "Live"],
    reconnecting: ["ask", "Reconnecting…"],
    polling: ["ask", "Updates every few seconds"],
    done: ["good", "Up to date"],
  };
  const [tone, text] = words[state];
  chip.hidden = false;
  chip.replaceChildren(Object.assign(document.createElement("span"), { className: `dot ${tone}` }), text);
}

function follow(path) {
  const address = new URL(path, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  let after = "";
  let epoch = "";
  let failures = 0;
  let poll = 0;

  function open() {
    address.search = after ? `?after=${encodeURIComponent(after)}` : "";
    const socket = new WebSocket(address, "scrub.v1");
    let finished = false;
    socket.onopen = () => {
      failures = 0;
      clearInterval(poll);
      poll = 0;
      say("live");
      redrawSoon();
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === "hello") epoch = frame.data.epoch;
      if (epoch) after = `${epoch}:${frame.seq}`;
      if (frame.type === "done") finished = true;
      if (frame.type !== "hello") redrawSoon();
    };
    socket.onclose = (event) => {
      if (finished || event.code === 1000) {
        say("done");
        redrawSoon();
        return;
      }
      failures += 1;
      say(failures > 2 ? "polling" : "reconnecting");
      if (failures > 2 && !poll) poll = setInterval(() => redraw().catch(() => say("reconnecting")), POLL_MS);
      setTimeout(open, Math.min(LONGEST_RETRY_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
    };
  }
  open();
}

if (chip?.dataset.events) {
  follow(chip.dataset.events);
} else {
  setInterval(() => {
    if (!document.hidden) redraw().catch(() => {});
  }, LIST_POLL_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) redraw().catch(() => {});
  });
}
