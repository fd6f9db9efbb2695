// openapi.yaml describes a deployment. The page shows what differs locally: the server is the one that served the page,
// callers need no identity, and there is the demo route.

const demo = (operationId, summary) => ({
  operationId,
  summary,
  tags: ["demo"],
  security: [{ "API key": [] }],
  responses: {
    200: { description: "The method and path, and what the authorizer passes on.", content: { "application/json": {} } },
    401: { description: "There is no key." },
    403: { description: "The key is denied." },
  },
});

// Swagger UI fills in the examples of parameters. If you sent them unchanged, the Idempotency-Key would return the same API
// key each time, and `after` would leave out keys.
function withoutExamples(value) {
  if (Array.isArray(value)) return value.map(withoutExamples);
  if (value === null || typeof value !== "object") return value;
  const fields = Object.entries(value).filter(([name]) => name !== "example" || !("in" in value));
  return Object.fromEntries(fields.map(([name, field]) => [name, withoutExamples(field)]));
}

// Every response has this header, so the page says it once, in its introduction.
function withoutCacheControl(value) {
  if (Array.isArray(value)) return value.map(withoutCacheControl);
  if (value === null || typeof value !== "object") return value;
  const fields = Object.entries(value).filter(([name]) => name !== "Cache-Control");
  return Object.fromEntries(fields.map(([name, field]) => [name, withoutCacheControl(field)]));
}

// The example's key exists nowhere, unless the service was started with --sample.
function pasteHere(paths) {
  const verify = Object.entries(paths).find(([path]) => path.endsWith("/verify"))[1].post;
  verify.requestBody.content["application/json"].example = { api_key: "paste an API key here", route: "GET /demo" };
  delete verify.requestBody.content["application/json"].examples;
}

function onThisMachine(openapi) {
  const { tags, paths, components, ...more } = withoutCacheControl(withoutExamples(openapi));
  pasteHere(paths);
  return {
    ...more,
    servers: [{ url: location.origin, description: "cargo local" }],
    security: [],
    tags: [...tags, { name: "demo", description: "A route behind the authorizer. Paste a key under Authorize." }],
    paths: { ...paths, "/demo": { get: demo("readDemo", "Needs read"), post: demo("writeDemo", "Needs write") } },
    components: {
      ...components,
      securitySchemes: {
        "API key": {
          type: "apiKey",
          in: "header",
          name: "Authorization",
          description: "For the demo route: an API key, with or without `Search` in front.",
        },
      },
    },
  };
}

// Says what the button is for, beside it.
const explained = {
  wrapComponents: {
    authorizeBtn: (Button, { React }) => (properties) =>
      React.createElement(
        "div",
        { className: "auth-wrapper" },
        React.createElement("span", null, "To call the demo route with an API key:\u00a0"),
        React.createElement(Button, properties),
      ),
  },
};

// Adds the scheme that the authorizer expects to a key without one.
function addScheme(request) {
  const value = request.headers.Authorization;
  if (value?.startsWith("gaia_")) request.headers.Authorization = `Search ${value}`;
  return request;
}

SwaggerUIBundle({
  dom_id: "#page",
  url: "/openapi.yaml",
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  requestInterceptor: addScheme,
  plugins: [
    explained,
    { statePlugins: { spec: { wrapActions: { updateJsonSpec: (show) => (openapi) => show(onThisMachine(openapi)) } } } },
  ],
});
