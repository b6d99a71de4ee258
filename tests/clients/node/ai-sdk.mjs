// The AI SDK: its providers for OpenAI, for servers compatible with OpenAI and for Anthropic, as the argument says.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { HEADERS, KEY, ROUTER_URL, UNKNOWN, WEATHER, rated, report } from "./harness.mjs";

const options = { baseURL: `${ROUTER_URL}/v1`, apiKey: KEY, headers: HEADERS };
const provider = {
  "openai-chat": () => createOpenAI(options).chat,
  "openai-responses": () => createOpenAI(options).responses,
  compatible: () =>
    createOpenAICompatible({ ...options, name: "router", includeUsage: true, supportsStructuredOutputs: true }),
  anthropic: () => createAnthropic(options),
}[process.argv[2]]();
const city = z.object({ city: z.string(), population: z.number() });
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const loop = { tools: { weather }, stopWhen: stepCountIs(3) };
const counted = (usage) => [usage.inputTokens, usage.outputTokens];
const called = (steps) => {
  const call = steps[0].toolCalls[0];
  return { name: call.toolName, arguments: call.input };
};

async function refused(call, named) {
  try {
    return await call();
  } catch (error) {
    if (!APICallError.isInstance(error)) throw error;
    return { status: error.statusCode, named: error.message.includes(named) };
  }
}

function features(model) {
  const ask = (prompt = "Hi", more) => generateText({ model: provider(model), prompt, ...more });
  const plain = async (prompt, more) => (await ask(prompt, more)).text;

  async function streamed(prompt = "Hi", more) {
    let failure;
    const result = streamText({
      model: provider(model),
      prompt,
      onError: ({ error }) => (failure = error),
      ...more,
    });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    if (failure) throw failure;
    return { text, result };
  }

  async function conversation() {
    let messages = [{ role: "user", content: "I am Bob." }];
    const models = new Set();
    for (const content of ["Who am I?", "And now?", "And then?"]) {
      const answer = await generateText({ model: provider(model), messages });
      models.add(answer.response.modelId);
      messages = [...messages, ...answer.response.messages, { role: "user", content }];
    }
    return models.size;
  }

  return {
    plain: () => plain(),
    stream: async () => (await streamed()).text,
    async tools() {
      const answer = await ask(WEATHER, loop);
      return { ...called(answer.steps), answer: answer.text };
    },
    "streamed tools": async () => called(await (await streamed(WEATHER, loop)).result.steps),
    "structured output": async () => (await ask("Hi", { output: Output.object({ schema: city }) })).output,
    usage: async () => counted((await ask()).usage),
    "streamed usage": async () => counted(await (await streamed()).result.usage),
    "bad field": () => refused(() => ask("Hi", { topP: 7 }), "top_p"),
    "unknown model": () => refused(() => ask("Hi", { model: provider(UNKNOWN) }), UNKNOWN),
    "upstream 400": () => refused(() => plain("fail 9 times with 400"), "as the prompt said"),
    "upstream 429": () => plain("fail 1 time with 429"),
    "upstream 500": () => plain("fail 1 time with 500"),
    "comes back": () => plain("fail 3 times with 500"),
    "broken stream": async () => {
      try {
        return (await streamed("break off")).text;
      } catch (error) {
        if (!error.message.includes("stopped streaming")) throw error; // the router's event, as it is
        return "error";
      }
    },
    conversation,
    feedback: async () => rated((await ask()).response.id),
  };
}

await report(features);
