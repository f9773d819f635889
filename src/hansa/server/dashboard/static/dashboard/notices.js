// What a page says where it cannot do what it is for: at its lower edge, in view wherever one has scrolled to, until the
// server answers again. Scripts tell it by `hansa:refused` and `hansa:answered`; of htmx's requests it hears by itself.
(() => {
  "use strict";
  const line = document.createElement("p");
  line.className = "trouble";
  line.setAttribute("role", "status");
  document.addEventListener("DOMContentLoaded", () => document.body.append(line));

  const link = (text, address) => {
    const made = document.createElement("a");
    made.textContent = text;
    made.href = address;
    return made;
  };
  const back = () => `${document.body.dataset.signIn}?next=${encodeURIComponent(location.pathname + location.search)}`;
  const words = {
    0: () => ["The server does not answer; the page follows again when it does."],
    401: () => ["You have been signed out. ", link("Sign in again", back())],
    403: () => ["This is no longer yours to see."],
    404: () => ["This is gone, or no longer yours to see."],
    429: () => ["The server was asked too often, and answers again in a while."],
  };
  let said = null;
  const tell = (status) => {
    if (said === status) return; // what is read out is not read out twice
    said = status;
    line.dataset.status = status;
    line.replaceChildren(...(words[status] || (() => [`The server could not answer (${status}).`]))());
  };
  document.addEventListener("hansa:refused", (event) => tell(event.detail));
  document.addEventListener("hansa:answered", () => { said = null; line.replaceChildren(); });
  document.addEventListener("htmx:responseError", (event) => tell(event.detail.xhr.status));
  document.addEventListener("htmx:sendError", () => tell(0));
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.xhr.status < 400) { said = null; line.replaceChildren(); }
  });
})();
