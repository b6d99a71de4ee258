// The `openai` package for Node: plain, its stream helper, its parser.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({
  baseURL: `${process.env.ROUTER_URL}/v1`,
  apiKey: "any",
  defaultHeaders: { "X-Router-Models": process.env.ROUTER_MODELS },
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

const user = (text = "Hi") => [{ role: "user", content: text }];
const create = (more) => client.chat.completions.create({ model: "auto", messages: user(), ...more });
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

async function refused(call, type, named) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof type)) throw error;
    return { status: error.status, named: error.message.includes(named) };
  }
}

const features = {
  plain: () => plain(),
  stream: () => stream(),
  async tools() {
    const messages = user("What is the weather?");
    const { message } = (await create({ messages, tools })).choices[0];
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny in Paris" };
    const answer = await create({ messages: [...messages, message, result], tools });
    return { ...called(message), answer: answer.choices[0].message.content };
  },
  "streamed tools": async () =>
    called(await client.chat.completions.stream({ model: "auto", messages: user(), tools }).finalMessage()),
  async "structured output"() {
    const request = { model: "auto", messages: user(), response_format: zodResponseFormat(City, "city") };
    return (await client.chat.completions.parse(request)).choices[0].message.parsed;
  },
  usage: async () => counted((await create()).usage),
  async "streamed usage"() {
    let last;
    for await (const chunk of await create({ stream: true, stream_options: { include_usage: true } })) last = chunk;
    return counted(last.usage);
  },
  "bad field": () => refused(() => create({ top_p: 7 }), OpenAI.BadRequestError, "top_p"),
  "unknown model": () => refused(() => create({ model: "gpt-0" }), OpenAI.NotFoundError, "gpt-0"),
  "upstream 500": () => plain("fail 1 time with 500"),
  "upstream 429": () => plain("fail 1 time with 429"),
  "comes back": () => plain("fail 2 times with 500"),
  async "broken stream"() {
    try {
      return await stream("break off");
    } catch (error) {
      if (!(error instanceof OpenAI.APIError)) throw error;
      return "error";
    }
  },
};

const seen = {};
for (const [name, feature] of Object.entries(features)) {
  try {
    seen[name] = await feature();
  } catch (error) {
    seen[name] = `${error.name}: ${error.message}`;
  }
}
console.log(JSON.stringify(seen));
