// The `openai` package for Node: plain, its stream helper, its parser.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { HEADERS, UNKNOWN, ROUTER_URL, WEATHER, raises, rated, refused, report } from "./harness.mjs";

const client = new OpenAI({
  baseURL: `${ROUTER_URL}/v1`,
  apiKey: "any",
  defaultHeaders: HEADERS,
});
const City = z.object({ city: z.string(), population: z.number() });
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

function features(model) {
  const user = (text = "Hi") => [{ role: "user", content: text }];
  const create = (more) => client.chat.completions.create({ model, messages: user(), ...more });
  const plain = async (text, more) => (await create({ messages: user(text), ...more })).choices[0].message.content;
  const counted = (usage) => [usage.prompt_tokens, usage.completion_tokens];
  const called = (message) => {
    const call = message.tool_calls[0].function;
    return { name: call.name, arguments: JSON.parse(call.arguments) };
  };

  async function stream(text) {
    let answer = "";
    for await (const chunk of await create({ messages: user(text), stream: true }))
      answer += chunk.choices[0]?.delta.content ?? "";
    return answer;
  }

  async function conversation() {
    let messages = user("I am Bob.");
    const models = new Set();
    for (const text of ["Who am I?", "And now?", "And then?"]) {
      const answer = await create({ messages });
      models.add(answer.model);
      messages = [...messages, answer.choices[0].message, ...user(text)];
    }
    return models.size;
  }

  return {
    plain: () => plain(),
    stream: () => stream(),
    async tools() {
      const messages = user(WEATHER);
      const { message } = (await create({ messages, tools })).choices[0];
      const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny in Paris" };
      const answer = await create({ messages: [...messages, message, result], tools });
      return { ...called(message), answer: answer.choices[0].message.content };
    },
    "streamed tools": async () =>
      called(await client.chat.completions.stream({ model, messages: user(WEATHER), tools }).finalMessage()),
    async "structured output"() {
      const request = { model, messages: user(), response_format: zodResponseFormat(City, "city") };
      return (await client.chat.completions.parse(request)).choices[0].message.parsed;
    },
    usage: async () => counted((await create()).usage),
    async "streamed usage"() {
      let last;
      for await (const chunk of await create({ stream: true, stream_options: { include_usage: true } })) last = chunk;
      return counted(last.usage);
    },
    "bad field": () => refused(() => create({ top_p: 7 }), OpenAI.BadRequestError, "top_p"),
    "unknown model": () => refused(() => create({ model: UNKNOWN }), OpenAI.NotFoundError, UNKNOWN),
    "upstream 400": () => refused(() => plain("fail 9 times with 400"), OpenAI.BadRequestError, "as the prompt said"),
    "upstream 429": () => plain("fail 1 time with 429"),
    "upstream 500": () => plain("fail 1 time with 500"),
    "comes back": () => plain("fail 3 times with 500"),
    "broken stream": () => raises(() => stream("break off"), OpenAI.APIError),
    conversation,
    feedback: async () => rated((await create()).id),
  };
}

await report(features);
