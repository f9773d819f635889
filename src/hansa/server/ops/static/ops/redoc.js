"use strict";

{
  const page = document.getElementById("description");
  const fontFamily = "system-ui, sans-serif";
  const options = {
    disableSearch: true, // it would start a worker from a script that is made at run time
    theme: { typography: { fontFamily, headings: { fontFamily } } },
  };
  Redoc.init(page.dataset.url, options, page);
}
