// A page that follows a training: each event of its stream has the parts of the page fetched anew, at most once a
// second. Without this script the page is as true, and stands still.
(() => {
  "use strict";
  const place = document.querySelector("[data-events]");
  if (!place || !window.EventSource) return;
  let due = 0;
  const moved = () => {
    due = 0;
    htmx.trigger(document.body, "moved");
  };
  const source = new EventSource(`${place.dataset.events}?after=${place.dataset.after}`);
  source.onmessage = () => {
    if (!due) due = setTimeout(moved, 1000);
  };
  source.onopen = () => document.body.classList.remove("cut-off");
  source.onerror = () => document.body.classList.add("cut-off");
  // A stream keeps one of the browser's few connections: it ends with its page.
  addEventListener("pagehide", () => source.close());
})();
