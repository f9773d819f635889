// A page that follows one training, or all: an event of their stream has those parts of the page fetched anew that it may have
// changed, at most once a second; less often where that takes long, and not at all while nobody looks. Without this
// script the page is as true, and stands still.
(() => {
  "use strict";
  const place = document.querySelector("[data-events]");
  if (!place || !window.EventSource) return;

  // By what an event happened to: the part of its kind before the dot. Of a kind that is not known here: all.
  const all = ["standing", "round", "updates", "curves", "versions", "clients", "log", "overview"];
  const changes = {
    training: ["standing", "round", "clients", "log"],
    participant: ["standing", "clients", "log"],
    round: ["standing", "round", "updates", "curves", "versions", "log"],
    task: ["standing", "round", "clients", "log"],
    "task.leased": ["round", "log"],
    "task.reported": ["standing", "round", "log"],
    "task.late": all,
  };

  // What is new takes its place within what is there: the focus, what is selected, scrolled to or opened stays so.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.localName === "details");
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (node) => !node.dataset || !("keep" in node.dataset);

  // A part that is as it was is not sent again.
  const known = new Map(); // the part's id → its tag
  document.addEventListener("htmx:configRequest", (event) => {
    const tag = known.get(event.target.id);
    if (tag) event.detail.headers["If-None-Match"] = tag;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status === 304) event.detail.shouldSwap = false;
    else if (xhr.getResponseHeader("ETag")) known.set(event.target.id, xhr.getResponseHeader("ETag"));
  });

  // A page of hundreds of clients takes long to make: it is asked for so seldom that it takes a twentieth of that time.
  const SHARE = 20, LEAST = 1000, MOST = 15000;
  let took = 0;
  document.addEventListener("htmx:beforeRequest", (event) => { event.target.asked = performance.now(); });
  document.addEventListener("htmx:beforeSwap", (event) => { took = Math.max(took, performance.now() - event.target.asked); });

  let due = 0;
  const moved = new Set();
  const tell = () => {
    due = 0;
    if (document.hidden) return;
    const parts = [...moved];
    moved.clear();
    took = 0;
    for (const part of parts) htmx.trigger(document.body, `moved-${part}`);
  };
  const soon = () => {
    if (!due && moved.size) due = setTimeout(tell, Math.min(Math.max(took * SHARE, LEAST), MOST));
  };
  const heard = (message) => {
    place.dataset.after = message.lastEventId;
    const kind = JSON.parse(message.data).kind;
    for (const part of changes[kind] || changes[kind.split(".")[0]] || all) moved.add(part);
    soon();
  };
  document.addEventListener("visibilitychange", soon);

  const say = (name, detail) => document.dispatchEvent(new CustomEvent(`hansa:${name}`, { detail }));
  let source, again;
  const follow = () => {
    source = new EventSource(`${place.dataset.events}?after=${place.dataset.after}`);
    source.onmessage = heard;
    source.onopen = () => say("answered");
    source.onerror = () => {
      // A line that breaks is taken up again by the browser; one that was refused it gives up, and does not say why.
      if (source.readyState === EventSource.CLOSED) refused();
      else say("refused", 0);
    };
  };
  const refused = async () => {
    const asked = await fetch(document.querySelector("[hx-get]").getAttribute("hx-get"), {
      headers: { "X-Requested-With": "fetch" },
    }).catch(() => ({ status: 0 }));
    say("refused", asked.status < 400 ? 0 : asked.status);
    again = setTimeout(follow, [401, 403, 404].includes(asked.status) ? 30000 : 5000);
  };
  follow();
  // A stream keeps one of the browser's few connections: it ends with its page, and begins again where one comes back.
  addEventListener("pagehide", () => { clearTimeout(again); source.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
})();
