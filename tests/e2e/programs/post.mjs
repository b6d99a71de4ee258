// Sends a large body by Node's fetch, whole and as a stream; prints the statuses that it received.
const [url, bytes] = process.argv.slice(2);
const size = Number(bytes);
const headers = {"Content-Type": "application/json"};
const post = async (options) => (await fetch(url, {method: "POST", headers, ...options})).status;
let left = size;
const stream = new ReadableStream({
  pull(controller) {
    controller.enqueue(new Uint8Array(Math.min(left, 65536)));
    left -= 65536;
    if (left <= 0) controller.close();
  },
});
console.log(await post({body: Buffer.alloc(size, "x")}), await post({body: stream, duplex: "half"}));
