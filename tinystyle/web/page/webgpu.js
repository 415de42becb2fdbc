// The network in compute shaders of WebGPU. A tensor is a buffer of vec4f [channels / 4][height][width].

const STRIPS = 64;

// Each invocation computes ROW pixels beside each other, so that a weight is read once for all of them.
const ROW = 4;

const gpuConvolution = ({ kernel, stride, up, ins, outs, group }) => {
  const column = (q, x) => Math.floor((q * stride + x - (kernel >> 1)) / up);
  const first = column(0, 0), columns = column(ROW - 1, kernel - 1) - first + 1;
  const pixels = (text) => Array.from({ length: ROW }, (_, q) => text(q)).join("\n");
  const taps = Array.from({ length: kernel }, (_, x) => `
      ${numbered(group, `let w${x}_# = table[j + ${x * ins * outs} + #];`)}
      ${pixels((q) => numbered(group, `sum${q}_# += w${x}_# * v${column(q, x) - first};`))}`).join("");
  return `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read> table: array<mat4x4f>;
@group(0) @binding(2) var<storage, read_write> to: array<vec4f>;
@group(0) @binding(3) var<uniform> size: vec4i;
fn seen(start: i32, x: i32) -> vec4f {
  if (x < 0 || x >= size.x) { return vec4f(); }
  return source[start + x];
}
@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
  let p = vec2i(i32(id.x) * ${ROW}, i32(id.y));
  if (p.x >= size.z || p.y >= size.w) { return; }
  let first = i32(id.z) * ${group};
  let left = p.x * ${stride} / ${up} + ${first};
  ${pixels((q) => numbered(group, `var sum${q}_# = vec4f();`))}
  for (var y = 0; y < ${kernel}; y++) {
    let row = p.y * ${stride} + y - ${kernel >> 1};
    if (row < 0 || row >= size.y * ${up}) { continue; }
    for (var i = 0; i < ${ins}; i++) {
      let start = (i * size.y + row / ${up}) * size.x;
      let j = (y * ${kernel * ins} + i) * ${outs} + first;
      ${numbered(columns, "let v# = seen(start, left + #);")}
      ${taps}
    }
  }
  let at = (first * size.w + p.y) * size.z + p.x;
  ${pixels((q) => `if (p.x + ${q} < size.z) {
    ${numbered(group, `to[at + # * size.z * size.w + ${q}] = sum${q}_#;`)}
  }`)}
}`;
};

// Sums of values and squares of a strip of a group of four channels; both less the value at the center, against rounding.
const GPU_SUMS = `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> to: array<vec4f>;
@group(0) @binding(2) var<uniform> size: vec4i;
var<workgroup> sums: array<vec4f, 64>;
var<workgroup> squares: array<vec4f, 64>;
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let n = u32(size.z * size.w);
  let center = source[group.y * n + u32(size.w / 2 * size.z + size.z / 2)];
  var sum = vec4f();
  var square = vec4f();
  for (var i = group.x * 64 + thread; i < n; i += 64 * ${STRIPS}) {
    let v = source[group.y * n + i] - center;
    sum += v;
    square += v * v;
  }
  sums[thread] = sum;
  squares[thread] = square;
  for (var half = 32u; half > 0; half /= 2) {
    workgroupBarrier();
    if (thread < half) {
      sums[thread] += sums[thread + half];
      squares[thread] += squares[thread + half];
    }
  }
  if (thread == 0) {
    to[(group.y * ${STRIPS} + group.x) * 2] = sums[0];
    to[(group.y * ${STRIPS} + group.x) * 2 + 1] = squares[0];
  }
}`;

// The factor and the offset that normalize a group of four channels.
const GPU_NORM = `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read> sums: array<vec4f>;
@group(0) @binding(2) var<storage, read> norms: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> to: array<vec4f>;
@group(0) @binding(4) var<uniform> size: vec4i;
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let n = u32(size.z * size.w);
  var sum = vec4f();
  var square = vec4f();
  for (var i = 0u; i < ${STRIPS}; i++) {
    sum += sums[(group.x * ${STRIPS} + i) * 2];
    square += sums[(group.x * ${STRIPS} + i) * 2 + 1];
  }
  let mean = sum / f32(n);
  let gain = norms[group.x * 2] * inverseSqrt(max(square / f32(n) - mean * mean, vec4f()) + 1e-5);
  let center = source[group.x * n + u32(size.w / 2 * size.z + size.z / 2)];
  to[group.x * 2] = gain;
  to[group.x * 2 + 1] = norms[group.x * 2 + 1] - gain * (mean + center);
}`;

const gpuNormalization = ({ relu, add }) => `
@group(0) @binding(0) var<storage, read_write> tensor: array<vec4f>;
@group(0) @binding(1) var<storage, read> norm: array<vec4f>;
@group(0) @binding(2) var<uniform> size: vec4i;
${add ? "@group(0) @binding(3) var<storage, read> earlier: array<vec4f>;" : ""}
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = u32(size.z * size.w);
  if (id.x >= n) { return; }
  let i = id.y * n + id.x;
  var v = tensor[i] * norm[id.y * 2] + norm[id.y * 2 + 1];
  ${relu ? "v = max(v, vec4f());" : ""}
  ${add ? "v += earlier[i];" : ""}
  tensor[i] = v;
}`;

const GPU_PICTURE = `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read> norm: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> to: array<u32>;
@group(0) @binding(3) var<uniform> picture: vec4i;
@compute @workgroup_size(16, 4) fn main(@builtin(global_invocation_id) id: vec3u) {
  let p = vec2i(id.xy);
  if (p.x >= picture.x || p.y >= picture.y) { return; }
  let v = source[(p.y + picture.w) * picture.z + p.x + picture.w] * norm[0] + norm[1];
  let rgb = vec3u(floor(tanh(clamp(v.rgb, vec3f(-9), vec3f(9))) * 127.5 + 128));
  to[p.y * picture.x + p.x] = rgb.r | (rgb.g << 8) | (rgb.b << 16) | 0xff000000;
}`;

const webgpuBackend = async (emulated) => {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("there is no WebGPU");
  if (!emulated && adapter.info?.isFallbackAdapter) throw new Error("there is only an emulated WebGPU");
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
  let lost = "";
  device.lost.then(({ message }) => (lost = `the graphics device was lost (${message})`));
  const pipelines = new Map(), free = new Map(), tables = new WeakMap(), norms = new WeakMap();
  const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;

  const pipeline = (code) => {
    if (!pipelines.has(code)) {
      pipelines.set(code, device.createComputePipeline({
        layout: "auto",
        compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
      }));
    }
    return pipelines.get(code);
  };
  const buffer = (size, usage = STORAGE | COPY_DST | COPY_SRC) => {
    const key = `${size},${usage}`;
    return free.get(key)?.pop() ?? Object.assign(device.createBuffer({ size, usage }), { key });
  };
  const release = (each) => free.set(each.key, [...(free.get(each.key) ?? []), each]);
  const forget = () => {
    free.forEach((buffers) => buffers.forEach((each) => each.destroy()));
    free.clear();
  };
  const filled = (values, usage = STORAGE | COPY_DST) => {
    const made = device.createBuffer({ size: values.byteLength, usage });
    device.queue.writeBuffer(made, 0, values);
    return made;
  };

  // Weights and norms of a layer on the device, once. Styles may have the same weights.
  const constants = (layer) => {
    if (!tables.has(layer.weights)) tables.set(layer.weights, filled(grouped(layer)));
    if (!norms.has(layer.gain)) {
      const values = new Float32Array(8 * Math.ceil(layer.out / 4));
      for (let c = 0; c < layer.out; c++) {
        values[(c >> 2) * 8 + (c & 3)] = layer.gain[c];
        values[(c >> 2) * 8 + 4 + (c & 3)] = layer.shift[c];
      }
      norms.set(layer.gain, filled(values));
    }
    return { table: tables.get(layer.weights), norms: norms.get(layer.gain) };
  };

  let size = "";
  return {
    name: "WebGPU",
    most: maxStorageBufferBindingSize / 64,
    run: async ({ layers, margin, multiple }, photo) => {
      if (lost) throw new Error(lost);
      const { pixels, width, height } = extended(photo, { margin, multiple });
      if (size !== `${width}x${height}`) forget();
      size = `${width}x${height}`;
      device.pushErrorScope("out-of-memory");
      device.pushErrorScope("validation");
      const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass(), used = [], small = [];
      const taken = (bytes) => {
        const made = buffer(bytes);
        used.push(made);
        return made;
      };
      const sizes = (...numbers) => {
        small.push(filled(new Int32Array(numbers), UNIFORM | COPY_DST));
        return small.at(-1);
      };
      const dispatch = (code, buffers, x, y = 1, z = 1) => {
        const made = pipeline(code);
        pass.setPipeline(made);
        const entries = buffers.map((each, binding) => ({ binding, resource: { buffer: each } }));
        pass.setBindGroup(0, device.createBindGroup({ layout: made.getBindGroupLayout(0), entries }));
        pass.dispatchWorkgroups(x, y, z);
      };

      const input = buffer(pixels.byteLength);
      device.queue.writeBuffer(input, 0, pixels);
      const tensors = [{ data: input, width, height }];
      const lastUse = (index) => layers.reduce((at, layer, i) => (layer.from === index || layer.add === index ? i : at), -1);
      const picture = buffer(4 * photo.width * photo.height);
      layers.forEach((layer, at) => {
        const from = tensors[layer.from], to = sizeAfter(layer, from), n = to.width * to.height;
        const ins = Math.ceil(layer.in / 4), outs = Math.ceil(layer.out / 4), group = [4, 3, 2, 1].find((each) => outs % each === 0);
        const { table, norms } = constants(layer);
        to.data = buffer(16 * n * outs);
        const shape = sizes(from.width, from.height, to.width, to.height);
        dispatch(gpuConvolution({ ...layer, ins, outs, group }), [from.data, table, to.data, shape],
          Math.ceil(to.width / (8 * ROW)), Math.ceil(to.height / 8), outs / group);
        const sums = taken(32 * STRIPS * outs), norm = taken(32 * outs);
        dispatch(GPU_SUMS, [to.data, sums, shape], STRIPS, outs);
        dispatch(GPU_NORM, [to.data, sums, norms, norm, shape], outs);
        if (at < layers.length - 1) {
          const earlier = tensors[layer.add];
          dispatch(gpuNormalization({ relu: layer.relu, add: Boolean(earlier) }),
            [to.data, norm, shape, ...(earlier ? [earlier.data] : [])], Math.ceil(n / 256), outs);
        } else {
          dispatch(GPU_PICTURE, [to.data, norm, picture, sizes(photo.width, photo.height, to.width, margin)],
            Math.ceil(photo.width / 16), Math.ceil(photo.height / 4));
        }
        tensors.push(to);
        tensors.forEach((each, index) => {
          if (each && lastUse(index) <= at) {
            release(each.data);
            tensors[index] = undefined;
          }
        });
      });
      pass.end();
      const bytes = 4 * photo.width * photo.height, result = buffer(bytes, MAP_READ | COPY_DST);
      encoder.copyBufferToBuffer(picture, 0, result, 0, bytes);
      device.queue.submit([encoder.finish()]);
      const problems = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
      const problem = problems.find(Boolean);
      if (problem) {
        forget();
        throw new Error(problem.message || "the graphics device has too little memory for this size");
      }
      await result.mapAsync(GPUMapMode.READ);
      const rgba = new Uint8ClampedArray(result.getMappedRange().slice(0));
      result.unmap();
      small.forEach((each) => each.destroy());
      [...used, picture, result].forEach(release);
      return rgba;
    },
  };
};
