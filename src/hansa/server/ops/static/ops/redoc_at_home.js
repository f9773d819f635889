"use strict";

// Run before ReDoc: what it makes keeps to this server's content-security policy.
{
  // Some of its style sheets are made before it has read its option `nonce`.
  const nonce = document.getElementById("description").dataset.nonce;
  const createElement = document.createElement;
  document.createElement = function (name, ...more) {
    const made = createElement.call(this, name, ...more);
    if (made instanceof HTMLStyleElement) {
      made.nonce = nonce;
    }
    return made;
  };

  // It shows its maker's logo from its maker's server, and has no option against it. Nothing is fetched from elsewhere
  // here: such an image is one that cannot be had, and ReDoc then does without.
  const image = HTMLImageElement.prototype;
  const { setAttribute } = image;
  const { get, set } = Object.getOwnPropertyDescriptor(image, "src");
  const refused = (element, url) => {
    const isElsewhere = !url.startsWith("data:") && new URL(url, location).origin !== location.origin;
    if (isElsewhere) {
      queueMicrotask(() => element.dispatchEvent(new Event("error")));
    }
    return isElsewhere;
  };
  image.setAttribute = function (name, value) {
    if (name !== "src" || !refused(this, value)) {
      setAttribute.call(this, name, value);
    }
  };
  Object.defineProperty(image, "src", {
    get,
    set(value) {
      if (!refused(this, value)) {
        set.call(this, value);
      }
    },
  });
}
