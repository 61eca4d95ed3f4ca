// client.js PROTO ADDRESS CASE -- runs one case of gRPC's interop tests against the server at ADDRESS, with @grpc/grpc-js.
// PROTO is interop.proto; NODE_PATH names the folder of the packages.
"use strict";

const assert = require("node:assert/strict");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const TIMEOUT_MS = 30000;
const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const INITIAL = ["x-grpc-test-echo-initial", "test_initial_metadata_value"];
const TRAILING = ["x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xab, 0xab])];
const GZIP = { "grpc.default_compression_algorithm": 2 };
const NO_COMPRESS = 2; // of a message: one of the flags of write

const zeros = (size) => ({ body: Buffer.alloc(size) });
const large = (more = {}) => ({ response_size: LARGE_RESPONSE, payload: zeros(LARGE_REQUEST), ...more });
const asking = (size, requestSize) => ({ response_parameters: [{ size }], payload: zeros(requestSize) });
const options = () => ({ deadline: Date.now() + TIMEOUT_MS });
const checkLarge = (response) => assert.equal(response.payload.body.length, LARGE_RESPONSE);

// A unary call or one that sends a stream, to its response; call and metadata of it are in the result, too.
function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const seen = {};
    const done = (error, response) => (error ? reject(error) : resolve({ response, seen }));
    const call = client[method](request, metadata, options(), done);
    call.on("metadata", (initial) => (seen.initial = initial));
    call.on("status", (status) => setImmediate(() => (seen.trailing = status.metadata)));
  });
}

// Sends messages, each a list of arguments of write, on a stream of the client's.
function sendStream(client, messages) {
  return new Promise((resolve, reject) => {
    const call = client.StreamingInputCall(new grpc.Metadata(), options(), (error, response) =>
      error ? reject(error) : resolve(response),
    );
    call.on("error", () => {}); // the callback has it
    for (const [message, flags] of messages) call.write(message, flags);
    call.end();
  });
}

// Responses of a stream as they come; ended resolves to the status, whatever it is.
function receiving(call) {
  const responses = [];
  let wake = () => {};
  let ended = false;
  const status = new Promise((resolve) => {
    call.on("status", (status) => {
      ended = true;
      resolve(status);
      wake();
    });
  });
  call.on("error", () => {}); // the status has it
  call.on("data", (response) => {
    responses.push(response);
    wake();
  });
  const next = async () => {
    while (responses.length === 0) {
      assert(!ended, "the stream has ended early");
      await new Promise((resolve) => (wake = resolve));
    }
    return responses.shift();
  };
  return { next, status, responses };
}

async function failsWith(promise, code, details) {
  const error = await promise.then(() => ({ code: grpc.status.OK }), (error) => error);
  assert.equal(error.code, code, String(error.details));
  if (details !== undefined) assert.equal(error.details, details);
}

async function checkServerStream(client, compressed) {
  const parameters = RESPONSE_SIZES.map((size, i) => (compressed ? { size, compressed: { value: compressed[i] } } : { size }));
  const stream = receiving(client.StreamingOutputCall({ response_parameters: parameters }, new grpc.Metadata(), options()));
  assert.equal((await stream.status).code, grpc.status.OK);
  assert.deepEqual(stream.responses.map((response) => response.payload.body.length), RESPONSE_SIZES);
}

async function checkEchoedStatus(client, message, withStream) {
  const status = { code: grpc.status.UNKNOWN, message };
  await failsWith(unary(client, "UnaryCall", { response_status: status }), grpc.status.UNKNOWN, message);
  if (!withStream) return;
  const call = client.FullDuplexCall(new grpc.Metadata(), options());
  const { status: ended } = receiving(call);
  call.write({ response_status: status });
  call.end();
  const { code, details } = await ended;
  assert.deepEqual({ code, details }, { code: grpc.status.UNKNOWN, details: message });
}

function checkMetadata(initial, trailing) {
  assert.deepEqual(initial.get(INITIAL[0]), [INITIAL[1]]);
  assert.deepEqual(trailing.get(TRAILING[0]), [TRAILING[1]]);
}

function metadataOf(...pairs) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of pairs) metadata.set(name, value);
  return metadata;
}

const cases = {
  async empty_unary(client) {
    const { response } = await unary(client, "EmptyCall", {});
    assert.deepEqual(response, {});
  },
  async large_unary(client) {
    const { response } = await unary(client, "UnaryCall", large());
    checkLarge(response);
  },
  async client_streaming(client) {
    const response = await sendStream(client, REQUEST_SIZES.map((size) => [{ payload: zeros(size) }]));
    assert.equal(response.aggregated_payload_size, 74922);
  },
  async server_streaming(client) {
    await checkServerStream(client, null);
  },
  async ping_pong(client) {
    const call = client.FullDuplexCall(new grpc.Metadata(), options());
    const stream = receiving(call);
    for (let i = 0; i < 4; i++) {
      call.write(asking(RESPONSE_SIZES[i], REQUEST_SIZES[i]));
      assert.equal((await stream.next()).payload.body.length, RESPONSE_SIZES[i]);
    }
    call.end();
    assert.equal((await stream.status).code, grpc.status.OK);
    assert.deepEqual(stream.responses, []);
  },
  async empty_stream(client) {
    const call = client.FullDuplexCall(new grpc.Metadata(), options());
    const stream = receiving(call);
    call.end();
    assert.equal((await stream.status).code, grpc.status.OK);
    assert.deepEqual(stream.responses, []);
  },
  async custom_metadata(client) {
    const { seen } = await unary(client, "UnaryCall", large(), metadataOf(INITIAL, TRAILING));
    await new Promise(setImmediate);
    checkMetadata(seen.initial, seen.trailing);
    const call = client.FullDuplexCall(metadataOf(INITIAL, TRAILING), options());
    const initial = new Promise((resolve) => call.on("metadata", resolve));
    const stream = receiving(call);
    call.write(asking(LARGE_RESPONSE, LARGE_REQUEST));
    call.end();
    checkMetadata(await initial, (await stream.status).metadata);
  },
  async status_code_and_message(client) {
    await checkEchoedStatus(client, "test status message", true);
  },
  async special_status_message(client) {
    await checkEchoedStatus(client, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n", false);
  },
  async unimplemented_method(client) {
    await failsWith(unary(client, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service(client, open) {
    const other = open("UnimplementedService");
    await failsWith(unary(other, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED);
    other.close();
  },
  async cancel_after_begin(client) {
    const error = await new Promise((resolve) => {
      const call = client.StreamingInputCall(new grpc.Metadata(), options(), resolve);
      setTimeout(() => call.cancel(), 1);
    });
    assert.equal(error.code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client.FullDuplexCall(new grpc.Metadata(), options());
    const stream = receiving(call);
    call.write(asking(RESPONSE_SIZES[0], REQUEST_SIZES[0]));
    assert.equal((await stream.next()).payload.body.length, RESPONSE_SIZES[0]);
    call.cancel();
    assert.equal((await stream.status).code, grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server(client) {
    const call = client.FullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 1 });
    const stream = receiving(call);
    call.write({ payload: zeros(27182) });
    assert.equal((await stream.status).code, grpc.status.DEADLINE_EXCEEDED);
  },
  async client_compressed_unary(client, open) {
    const compressing = open("TestService", GZIP);
    const expecting = (value) => large({ expect_compressed: { value } });
    await failsWith(unary(client, "UnaryCall", expecting(true)), grpc.status.INVALID_ARGUMENT);
    checkLarge((await unary(compressing, "UnaryCall", expecting(true))).response);
    checkLarge((await unary(client, "UnaryCall", expecting(false))).response);
    compressing.close();
  },
  async client_compressed_streaming(client, open) {
    const compressing = open("TestService", GZIP);
    const message = (size, value) => ({ payload: zeros(size), expect_compressed: { value } });
    await failsWith(sendStream(client, [[message(27182, true)]]), grpc.status.INVALID_ARGUMENT);
    const response = await sendStream(compressing, [
      [message(27182, true)],
      [message(45904, false), NO_COMPRESS],
    ]);
    assert.equal(response.aggregated_payload_size, 73086);
    compressing.close();
  },
  async server_compressed_unary(client) {
    for (const value of [true, false]) checkLarge((await unary(client, "UnaryCall", large({ response_compressed: { value } }))).response);
  },
  async server_compressed_streaming(client) {
    await checkServerStream(client, [true, false, false, true]);
  },
};

async function main(proto, address, name) {
  const { grpc: loaded } = grpc.loadPackageDefinition(protoLoader.loadSync(proto, { keepCase: true }));
  const open = (service, more = {}) => new loaded.testing[service](address, grpc.credentials.createInsecure(), more);
  const client = open("TestService");
  await cases[name](client, open);
  client.close();
}

if (process.argv.length !== 5 || !(process.argv[4] in cases)) {
  console.error("usage: client.js PROTO ADDRESS CASE");
  process.exit(2);
}
main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
