// openapi.yaml describes a deployment. The page shows it as it holds here: the server is the one that the page came from, it
// asks nobody who they are, and it has the demo route.

const demo = (operationId, summary) => ({
  operationId,
  summary,
  tags: ["demo"],
  security: [{ "API key": [] }],
  responses: {
    200: { description: "The method and path, and what the authorizer passes on.", content: { "application/json": {} } },
    401: { description: "No key." },
    403: { description: "Not this key, or not for this." },
  },
});

// Swagger UI fills in the examples of parameters. Sent as they are, one Idempotency-Key would make one key only, however
// often it is asked for, and `after` would leave out keys.
function withoutExamples(value) {
  if (Array.isArray(value)) return value.map(withoutExamples);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(([name]) => name !== "example" || !("in" in value));
  return Object.fromEntries(members.map(([name, member]) => [name, withoutExamples(member)]));
}

function onThisMachine(openapi) {
  const { tags, paths, components, ...more } = withoutExamples(openapi);
  return {
    ...more,
    servers: [{ url: location.origin, description: "cargo local" }],
    security: [],
    tags: [...tags, { name: "demo", description: "A route behind the authorizer. Paste a key under Authorize." }],
    paths: { ...paths, "/demo": { get: demo("readDemo", "Opens with read"), post: demo("writeDemo", "Opens with write") } },
    components: {
      ...components,
      securitySchemes: {
        "API key": {
          type: "apiKey",
          in: "header",
          name: "Authorization",
          description: "For the demo route: a key as it was copied, or `Search` and a key.",
        },
      },
    },
  };
}

// A key as it was copied becomes the header that the authorizer asks for.
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
