// The life of an API key in Node 20 or later, or any runtime with fetch: `npm install aws4fetch`.
// docs/clients.md names the variables. JSON.parse rounds numbers of more than 15 digits: where configs have
// such, update keys with another language.
import { AwsV4Signer } from 'aws4fetch'

const { API, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
const signing = {
  accessKeyId: AWS_ACCESS_KEY_ID,
  secretAccessKey: AWS_SECRET_ACCESS_KEY,
  sessionToken: AWS_SESSION_TOKEN,
  region: AWS_REGION,
  service: 'execute-api',
}

// Sends a request again after a 429, a 503 or a lost connection: creates and rotations need an Idempotency-Key.
async function call(method, url, body, headers = {}) {
  headers = { 'content-type': 'application/json', ...headers }
  let problem
  for (let attempt = 0; attempt < 4; attempt++) {
    if (attempt) await new Promise((done) => setTimeout(done, Math.random() * 200 * 2 ** attempt))
    const signer = new AwsV4Signer({ ...signing, method, url, headers, body: body && JSON.stringify(body) })
    const signed = await signer.sign()
    let response, text
    try {
      response = await fetch(signed.url, { ...signed, signal: AbortSignal.timeout(30_000) })
      text = await response.text()
    } catch (error) {
      problem = error.name
      continue
    }
    if (response.ok) return { json: JSON.parse(text), link: response.headers.get('link') }
    // An attempt whose response was lost has deleted it.
    if (response.status === 404 && method === 'DELETE' && attempt) return { json: { result: 'deleted' } }
    if (response.status === 412) return { changed: true }
    problem = `${response.status} ${text}` // the response says what is wrong; the path may hold a key
    if (![429, 503].includes(response.status)) break
  }
  throw new Error(`${method}: ${problem}`)
}

// A new value for each key that you want; repeated requests send the same one.
const once = () => ({ 'Idempotency-Key': crypto.randomUUID() })

// All keys, page by page. The next page's address is relative.
async function* keys(url = `${API}/`) {
  while (url) {
    const { json, link } = await call('GET', url)
    yield* json
    const next = link?.match(/<([^>]+)>; rel="next"/)
    url = next && new URL(next[1], url).href
  }
}

// Changes fields of a config. PUT replaces the whole config: If-Match keeps what others changed meanwhile.
async function update(id, fields) {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { config, etag } = (await call('GET', `${API}/${id}`)).json
    const wanted = { ...config, ...fields }
    // Nothing to do, also if only the response to an earlier attempt was lost.
    if (JSON.stringify(wanted) === JSON.stringify(config)) return { result: 'updated' }
    const { json, changed } = await call('PUT', `${API}/${id}`, { config: wanted }, { 'If-Match': etag })
    if (!changed) return json
  }
  throw new Error('PUT: others change the key all the time')
}

const config = { permissions: 'read', name: 'reports' }
const key = (await call('POST', `${API}/`, { config }, once())).json.api_key
const id = key.slice(0, 31) // not a secret: it stands for the key in paths
let count = 0
for await (const _ of keys()) count++
console.log(count)
console.log((await update(id, { permissions: 'write' })).result)
console.log((await call('POST', `${API}/verify`, { api_key: key, route: 'POST /items' })).json.valid)
console.log((await call('GET', `${API}/${id}`)).json.last_used_at)
const rotated = (await call('POST', `${API}/${id}/rotate`, { grace_seconds: 3600 }, once())).json
console.log(rotated.result)
for (const oldOrNew of [id, rotated.api_key.slice(0, 31)]) {
  console.log((await call('DELETE', `${API}/delete/${oldOrNew}`)).json.result)
}
