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

function onThisMachine(openapi) {
  const { tags, paths, components, ...more } = withoutExamples(openapi);
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
  requestInterceptor: addScheme,
  plugins: [
    { statePlugins: { spec: { wrapActions: { updateJsonSpec: (show) => (openapi) => show(onThisMachine(openapi)) } } } },
  ],
});
