// The AWS SDK as it comes: over HTTP/2, its default for the runtime. Prints what it read as one line of JSON.
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";

const [modelId, text] = process.argv.slice(2);
const client = new BedrockRuntimeClient({ region: "us-east-1" });
const messages = [{ role: "user", content: [{ text }] }];
const whole = await client.send(new ConverseCommand({ modelId, messages }));

let converse = "";
for await (const event of (await client.send(new ConverseStreamCommand({ modelId, messages }))).stream) {
  converse += event.contentBlockDelta?.delta?.text ?? "";
}

const body = JSON.stringify({
  anthropic_version: "bedrock-2023-05-31",
  max_tokens: 512,
  messages: [{ role: "user", content: text }],
});
let invoke = "";
for await (const event of (await client.send(new InvokeModelWithResponseStreamCommand({ modelId, body }))).body) {
  invoke += JSON.parse(new TextDecoder().decode(event.chunk.bytes)).delta?.text ?? "";
}
client.destroy();
console.log(JSON.stringify({ whole: whole.output.message.content[0].text, converse, invoke }));
