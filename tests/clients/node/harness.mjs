// Gives every program the router's address, and reports what its package returned.

export const ROUTER_URL = process.env.ROUTER_URL;
export const MODELS = process.env.ROUTER_MODELS; // used by this client only
export const KEY = "any";
export const HEADERS = { "X-Router-Models": MODELS };
// features.py, which Python programs import
const { SEEN, ON_EVERY_MODEL, WEATHER, UNKNOWN } = JSON.parse(process.env.FEATURES);
export { WEATHER, UNKNOWN };
export const CITY_SCHEMA = {
  title: "city",
  description: "A city.",
  type: "object",
  properties: { city: { type: "string" }, population: { type: "integer" } },
  required: ["city", "population"],
  additionalProperties: false,
};

const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (value) =>
  value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
    : value;

async function seenBy(feature) {
  try {
    return await feature();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

// Try every feature, those named once on each model, and print the results as JSON.
export async function report(features, onEveryModel = ON_EVERY_MODEL) {
  const seen = {};
  for (const [name, feature] of Object.entries(features("auto"))) seen[name] = await seenBy(feature);
  const differing = {};
  for (const model of MODELS.split(","))
    for (const [name, feature] of Object.entries(features(model))) {
      if (!onEveryModel.includes(name)) continue;
      const got = await seenBy(feature);
      if (!same(got, SEEN[name])) differing[`${name} on ${model}`] = got;
    }
  console.log(JSON.stringify({ ...seen, "every model": differing }));
}

export async function refused(call, type, named) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof type)) throw error;
    return { status: error.status, named: error.message.includes(named) };
  }
}

export async function raises(call, type) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof type)) throw error;
    return "error";
  }
}

// Rate an answer by the id that the package shows, and find its cost.
export async function rated(id) {
  const body = JSON.stringify({ request_id: id, score: 1 });
  const headers = { "Content-Type": "application/json" };
  const effect = await (await fetch(`${ROUTER_URL}/feedback`, { method: "POST", headers, body })).json();
  if ("error" in effect) return effect;
  let record;
  for (let tries = 0; tries < 100; tries++) {
    record = await (await fetch(`${ROUTER_URL}/requests/${id}`)).json(); // the log is written behind the answer
    if (record.outcome?.cost_usd) return { accepted: true, cost: true };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return record;
}
