// The network in fragment shaders of WebGL 2. A tensor is an array texture, four channels to a layer.

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4. - 1., 0, 1); }`;

const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D; precision highp sampler2DArray;
`;

const numbered = (n, text) => Array.from({ length: n }, (_, i) => text.replaceAll("#", i)).join("\n");

const glConvolution = ({ kernel, stride, up, ins, group, inTexture }) => `${FRAGMENT}
uniform sampler2DArray source;
${inTexture
    ? "uniform sampler2D table;\n#define W(j) texelFetch(table, ivec2((j) & 1023, (j) >> 10), 0)"
    : `layout(std140) uniform Table { vec4 table[${kernel * kernel * ins * group * 4}]; };\n#define W(j) table[j]`}
${numbered(group, "layout(location = #) out vec4 to#;")}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy) * ${stride} - ${kernel >> 1}, size = textureSize(source, 0).xy * ${up};
  ${numbered(group, "vec4 sum# = vec4(0);")}
  for (int y = 0; y < ${kernel}; y++) for (int x = 0; x < ${kernel}; x++) {
    ivec2 p = at + ivec2(x, y);
    if (p.x < 0 || p.y < 0 || p.x >= size.x || p.y >= size.y) continue;
    for (int i = 0; i < ${ins}; i++) {
      vec4 v = texelFetch(source, ivec3(p / ${up}, i), 0);
      int j = ((y * ${kernel} + x) * ${ins} + i) * ${4 * group};
      ${numbered(group, "sum# += W(j + # * 4) * v.x + W(j + # * 4 + 1) * v.y + W(j + # * 4 + 2) * v.z + W(j + # * 4 + 3) * v.w;")}
    }
  }
  ${numbered(group, "to# = sum#;")}
}`;

// Sums over blocks of 8 x 8 of a tensor, of values and of squares; both less the value at the center, against rounding.
// The layers of the tensor are side by side in the result.
const GL_SUM_TENSOR = `${FRAGMENT}
uniform sampler2DArray source; uniform int wide;
layout(location = 0) out vec4 sum; layout(location = 1) out vec4 squares;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy), size = textureSize(source, 0).xy;
  int layer = at.x / wide;
  vec4 center = texelFetch(source, ivec3(size / 2, layer), 0);
  ivec2 begin = ivec2(at.x % wide, at.y) * 8, end = min(begin + 8, size);
  sum = squares = vec4(0);
  for (int y = begin.y; y < end.y; y++) for (int x = begin.x; x < end.x; x++) {
    vec4 v = texelFetch(source, ivec3(x, y, layer), 0) - center;
    sum += v; squares += v * v;
  }
}`;

const GL_SUM_SUMS = `${FRAGMENT}
uniform sampler2D sums, squaresums; uniform int wide, before;
layout(location = 0) out vec4 sum; layout(location = 1) out vec4 squares;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  int layer = at.x / wide;
  ivec2 begin = ivec2(at.x % wide, at.y) * 8, end = min(begin + 8, ivec2(before, textureSize(sums, 0).y));
  sum = squares = vec4(0);
  for (int y = begin.y; y < end.y; y++) for (int x = begin.x; x < end.x; x++) {
    ivec2 p = ivec2(layer * before + x, y);
    sum += texelFetch(sums, p, 0); squares += texelFetch(squaresums, p, 0);
  }
}`;

const glNormalization = ({ group, relu, add, last }) => `${FRAGMENT}
uniform sampler2DArray source, earlier; uniform sampler2D sums, squaresums;
uniform int first; uniform ivec2 corner; uniform vec4 gain[${group}], shift[${group}];
${numbered(group, "layout(location = #) out vec4 to#;")}
vec4 normal(int i) {
  int layer = first + i;
  ivec2 size = textureSize(source, 0).xy, at = ivec2(gl_FragCoord.xy) + corner;
  float n = float(size.x) * float(size.y);
  vec4 mean = texelFetch(sums, ivec2(layer, 0), 0) / n;
  vec4 variance = max(texelFetch(squaresums, ivec2(layer, 0), 0) / n - mean * mean, 0.);
  vec4 v = texelFetch(source, ivec3(at, layer), 0) - texelFetch(source, ivec3(size / 2, layer), 0) - mean;
  v = v * inversesqrt(variance + 1e-5) * gain[i] + shift[i];
  ${relu ? "v = max(v, 0.);" : ""}
  ${add ? "v += texelFetch(earlier, ivec3(at, layer), 0);" : ""}
  return v;
}
void main() {
  ${last ? "to0 = vec4(floor(tanh(clamp(normal(0).rgb, -9., 9.)) * 127.5 + 128.) / 255., 1);" : numbered(group, "to# = normal(#);")}
}`;

const webglBackend = (emulated) => {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { powerPreference: "high-performance" });
  if (!gl) throw new Error("there is no WebGL 2");
  const names = gl.getExtension("WEBGL_debug_renderer_info"), device = gl.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
  if (!emulated && /swiftshader|llvmpipe|software|basic render/i.test(device)) throw new Error("there is only an emulated WebGL 2");
  if (!gl.getExtension("EXT_color_buffer_float")) throw new Error("this device's WebGL 2 cannot draw to float textures");
  const groups = Math.min(4, gl.getParameter(gl.MAX_DRAW_BUFFERS)), block = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE);
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);

  const programs = new Map(), free = new Map(), tables = new WeakMap();
  const program = (source) => {
    let made = programs.get(source);
    if (!made) {
      made = gl.createProgram();
      for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, source]]) {
        const shader = gl.createShader(type);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        gl.attachShader(made, shader);
      }
      gl.linkProgram(made);
      if (!gl.getProgramParameter(made, gl.LINK_STATUS)) {
        throw new Error(`a shader does not compile: ${gl.getAttachedShaders(made).map((s) => gl.getShaderInfoLog(s)).join(" ")}`);
      }
      programs.set(source, made);
    }
    gl.useProgram(made);
    return made;
  };

  // Textures are kept for the next use at the same size; `layers` 0 is a flat one.
  const texture = (width, height, layers, format = gl.RGBA32F) => {
    const key = [width, height, layers, format].join();
    const kept = free.get(key)?.pop();
    if (kept) return kept;
    const target = layers ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D, made = gl.createTexture();
    gl.bindTexture(target, made);
    if (layers) gl.texStorage3D(target, 1, format, width, height, layers);
    else gl.texStorage2D(target, 1, format, width, height);
    gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return Object.assign(made, { key, width, height, layers, target });
  };
  const release = (tensor) => free.set(tensor.key, [...(free.get(tensor.key) ?? []), tensor]);
  const forget = () => {
    free.forEach((textures) => textures.forEach((each) => gl.deleteTexture(each)));
    free.clear();
  };

  // Runs `made` for the pixels of `targets`: pairs of a texture and a layer of it.
  const draw = (made, textures, numbers, targets, width, height) => {
    Object.entries(textures).forEach(([name, each], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(each.target, each);
      gl.uniform1i(gl.getUniformLocation(made, name), unit);
    });
    for (const [name, value] of Object.entries(numbers)) gl.uniform1i(gl.getUniformLocation(made, name), value);
    for (let i = 0; i < groups; i++) {
      const [to, layer] = targets[i] ?? [null, 0], attachment = gl.COLOR_ATTACHMENT0 + i;
      if (to?.layers) gl.framebufferTextureLayer(gl.FRAMEBUFFER, attachment, to, 0, layer);
      else gl.framebufferTexture2D(gl.FRAMEBUFFER, attachment, gl.TEXTURE_2D, to, 0);
    }
    gl.drawBuffers(targets.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };

  // The weights of the output layers from `first` on, as a uniform block, or as a texture if they are too many for one.
  const table = (layer, first, group) => {
    const key = `${first},${group}`;
    if (!tables.has(layer.weights)) tables.set(layer.weights, new Map());
    const known = tables.get(layer.weights);
    if (known.has(key)) return known.get(key);
    const all = grouped(layer), outs = Math.ceil(layer.out / 4) * 16, size = group * 16, steps = all.length / outs;
    const inTexture = steps * size * 4 > block;
    const rows = Math.ceil((steps * size) / 4096);
    const values = new Float32Array(inTexture ? rows * 4096 : steps * size);
    for (let i = 0; i < steps; i++) values.set(all.subarray(i * outs + first * 16, i * outs + first * 16 + size), i * size);
    let made;
    if (inTexture) {
      made = texture(1024, rows, 0);
      gl.bindTexture(gl.TEXTURE_2D, made);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 1024, rows, gl.RGBA, gl.FLOAT, values);
    } else {
      made = gl.createBuffer();
      gl.bindBuffer(gl.UNIFORM_BUFFER, made);
      gl.bufferData(gl.UNIFORM_BUFFER, values, gl.STATIC_DRAW);
    }
    const entry = { made, inTexture };
    known.set(key, entry);
    return entry;
  };

  const inGroups = (layers, what) => {
    for (let first = 0; first < layers; first += groups) what(first, Math.min(groups, layers - first));
  };

  const convolved = (layer, source) => {
    const { width, height } = sizeAfter(layer, source), layers = Math.ceil(layer.out / 4), to = texture(width, height, layers);
    inGroups(layers, (first, group) => {
      const { made, inTexture } = table(layer, first, group);
      const shader = program(glConvolution({ ...layer, ins: Math.ceil(layer.in / 4), group, inTexture }));
      if (!inTexture) gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, made);
      const targets = Array.from({ length: group }, (_, i) => [to, first + i]);
      draw(shader, inTexture ? { source, table: made } : { source }, {}, targets, width, height);
    });
    return to;
  };

  const summed = (source) => {
    let wide = source.width, high = source.height, sums, squaresums;
    while (!sums || wide > 1 || high > 1) {
      const before = wide, old = [sums, squaresums];
      [wide, high] = [Math.ceil(wide / 8), Math.ceil(high / 8)];
      const targets = [0, 1].map(() => [texture(wide * source.layers, high, 0), 0]);
      if (sums) draw(program(GL_SUM_SUMS), { sums, squaresums }, { wide, before }, targets, wide * source.layers, high);
      else draw(program(GL_SUM_TENSOR), { source }, { wide }, targets, wide * source.layers, high);
      old.forEach((each) => each && release(each));
      [[sums], [squaresums]] = targets;
    }
    return { sums, squaresums };
  };

  const normalized = (layer, source, earlier, to, corner) => {
    const sums = summed(source), last = to.layers === 0;
    inGroups(source.layers, (first, group) => {
      const shader = program(glNormalization({ group, relu: layer.relu, add: Boolean(earlier), last }));
      for (const name of ["gain", "shift"]) {
        const values = new Float32Array(4 * group);
        values.set(layer[name].subarray(4 * first, 4 * (first + group)));
        gl.uniform4fv(gl.getUniformLocation(shader, name), values);
      }
      gl.uniform2i(gl.getUniformLocation(shader, "corner"), corner, corner);
      const targets = Array.from({ length: group }, (_, i) => [to, first + i]);
      draw(shader, { source, ...(earlier && { earlier }), ...sums }, { first }, targets, to.width, to.height);
    });
    Object.values(sums).forEach(release);
    release(source);
    return to;
  };

  let size = "";
  return {
    name: "WebGL 2",
    most: most * most / 8,
    run: async ({ layers, margin, multiple }, photo) => {
      if (gl.isContextLost()) throw new Error("the graphics device was lost");
      const { pixels, width, height } = extended(photo, { margin, multiple });
      if (Math.max(width, height) > most) throw new Error("the photo is too large for this graphics device");
      if (size !== `${width}x${height}`) forget();
      size = `${width}x${height}`;
      const input = texture(width, height, 1);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, input);
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, width, height, 1, gl.RGBA, gl.FLOAT, pixels);
      const tensors = [input];
      const lastUse = (index) => layers.reduce((at, layer, i) => (layer.from === index || layer.add === index ? i : at), -1);
      layers.forEach((layer, at) => {
        const raw = convolved(layer, tensors[layer.from]), last = at === layers.length - 1;
        const to = last ? texture(photo.width, photo.height, 0, gl.RGBA8) : texture(raw.width, raw.height, raw.layers);
        tensors.push(normalized(layer, raw, tensors[layer.add], to, last ? margin : 0));
        tensors.forEach((each, index) => {
          if (each && index <= at && lastUse(index) <= at) {
            release(each);
            tensors[index] = undefined;
          }
        });
      });
      const bytes = new Uint8ClampedArray(4 * photo.width * photo.height);
      gl.readBuffer(gl.COLOR_ATTACHMENT0);
      gl.readPixels(0, 0, photo.width, photo.height, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(bytes.buffer));
      release(tensors.at(-1));
      if (gl.getError()) throw new Error("the graphics device has too little memory for this size");
      return bytes;
    },
  };
};
