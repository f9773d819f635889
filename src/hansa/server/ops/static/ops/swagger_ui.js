"use strict";

{
  const page = document.getElementById("description");

  // Who is signed in by a cookie shows the token against forgery as well, as the forms of the API's pages do.
  const withCsrfToken = (request) => {
    const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie);
    const isOurs = new URL(request.url, location).origin === location.origin;
    if (token && isOurs && !["GET", "HEAD", "OPTIONS"].includes((request.method || "GET").toUpperCase())) {
      request.headers["X-CSRFToken"] = token[1];
    }
    return request;
  };

  SwaggerUIBundle({
    url: page.dataset.url,
    domNode: page,
    deepLinking: true,
    docExpansion: "list",
    requestInterceptor: withCsrfToken,
    validatorUrl: null, // asks nobody else what they think of the description
  });
}
