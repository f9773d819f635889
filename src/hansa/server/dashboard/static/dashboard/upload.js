// Files are dropped onto a form and sent with their progress shown. Without this script the form is as good: it sends
// the same, and shows the same answer.
(() => {
  "use strict";

  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let unit = 0;
    for (; bytes >= 1024 && unit < 3; unit += 1) bytes /= 1024;
    return `${unit ? bytes.toPrecision(3) : bytes} ${units[unit]}`;
  };

  // What was chosen, and a small picture of it if it is one.
  const tell = (zone, input) => {
    zone.querySelectorAll("[data-chosen]").forEach((each) => each.remove());
    for (const file of input.files) {
      const line = document.createElement("p");
      line.dataset.chosen = "";
      line.className = "small";
      line.textContent = `${file.name}, ${size(file.size)}`;
      zone.append(line);
      if (!file.type.startsWith("image/") || file.size > 2 ** 21) continue;
      const reader = new FileReader();
      reader.onload = () => {
        const picture = document.createElement("img");
        picture.dataset.chosen = "";
        picture.className = "preview";
        picture.alt = "";
        picture.src = reader.result;
        zone.append(picture);
      };
      reader.readAsDataURL(file);
    }
  };

  const named = (form, file) => {
    const name = form.elements.namedItem("name");
    if (name && !name.value && file) name.value = file.name.replace(/\.[^.]+$/, "");
  };

  const prepare = (zone) => {
    const input = zone.querySelector("input[type=file]");
    const hint = document.createElement("p");
    hint.className = "quiet small";
    hint.textContent = "… or drop it here.";
    input.after(hint);
    const over = (event) => {
      event.preventDefault();
      zone.classList.toggle("over", event.type === "dragover");
    };
    zone.addEventListener("dragover", over);
    zone.addEventListener("dragleave", over);
    zone.addEventListener("drop", (event) => {
      over(event);
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change"));
    });
    input.addEventListener("change", () => {
      tell(zone, input);
      if (input.name === "model_file") named(input.form, input.files[0]);
    });
  };

  // The page that was answered takes the place of this one. False: it is none of ours.
  const show = (answer, address) => {
    const page = new DOMParser().parseFromString(answer, "text/html");
    if (!page.querySelector("main#content")) return false;
    const main = document.adoptNode(page.querySelector("main"));
    const first = main.querySelector("[autofocus]");
    if (first) first.removeAttribute("autofocus"); // the browser heeds it in a document that is loaded, and complains here
    document.title = page.title;
    document.querySelector("main").replaceWith(main);
    if (address && address !== location.href) history.pushState(null, "", address);
    enliven(main);
    (first || main).focus();
    return true;
  };

  const send = (form) => {
    const bar = form.querySelector("progress");
    const status = form.querySelector("[data-status]");
    const button = form.querySelector("button.primary");
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.upload.onprogress = (event) => {
      bar.hidden = false;
      bar.value = event.lengthComputable ? event.loaded / event.total : 0;
      status.textContent =
        event.loaded < event.total ? `${size(event.loaded)} of ${size(event.total)}` : "Sent. It is being looked at.";
    };
    const failed = (why) => {
      button.disabled = false;
      bar.hidden = true;
      status.textContent = why;
    };
    request.onload = () => {
      if (request.status === 401) {
        document.dispatchEvent(new CustomEvent("hansa:refused", { detail: 401 }));
        failed("Nothing was made: you have been signed out.");
      } else if (!show(request.responseText, request.responseURL))
        failed(`What answered is not this server's page (status ${request.status}). Nothing may have been made: look at the list, and try again.`);
    };
    request.onerror = () =>
      failed("The connection broke, or the server refused a file of this size. Nothing was made.");
    request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    button.disabled = true;
    request.send(new FormData(form));
  };

  const enliven = (root) => {
    root.querySelectorAll("[data-drop]").forEach(prepare);
    root.querySelectorAll("form[data-upload]").forEach((form) =>
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        send(form);
      }),
    );
  };

  // A file that misses its zone would be opened in place of the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  addEventListener("popstate", () => location.reload());
  enliven(document);
})();
