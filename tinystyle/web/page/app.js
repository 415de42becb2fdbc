// The page: what its controls do.

(async () => {
  const by = (id) => document.getElementById(id);
  const root = document.documentElement, query = new URLSearchParams(location.search);
  const canvas = by("after"), screen = drawing(canvas);
  let key, backend, image, photo, outputs = new Map(), camera, job = 0, line = Promise.resolve();

  const say = (text) => (by("status").textContent = text);
  const complain = (error) => {
    by("error").textContent = error ? error.message ?? String(error) : "";
    by("error").hidden = !error;
    if (error) root.dataset.state = "error";
  };
  const chosen = () => Number(document.querySelector("#styles input:checked").value);
  const second = () => (by("second").value === "" ? -1 : Number(by("second").value));
  const most = () => Number(by("size").value) || (camera ? 480 : key === "javascript" ? 640 : 1024);
  // Two styles with the same weights are mixed in the network, others as pictures.
  const trunk = (style) => STYLES[style].of ?? style;
  const together = () => second() >= 0 && trunk(chosen()) === trunk(second());
  // What has to be computed: numbers of styles, or a mixture in words.
  const names = () => {
    if (together()) return [`${chosen()},${second()},${by("mix").value / 100}`];
    return second() < 0 ? [chosen()] : [chosen(), second()];
  };
  const styleOf = (name) => {
    const [one, two, share] = String(name).split(",");
    return two ? between(STYLES[one], STYLES[two], share) : STYLES[one];
  };
  const milliseconds = (time) => (time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`);

  // One computation at a time: the next begins when the last has ended.
  const queued = (work) => (line = line.catch(() => {}).then(work));

  // Computes with the path that was chosen; if a device is lost or too small, with the next one that works.
  const computed = async (style, pixels) => {
    for (;;) {
      try {
        return await backend.run(styleOf(style), pixels);
      } catch (error) {
        const keys = Object.keys(BACKENDS), next = keys[keys.indexOf(key) + 1];
        if (by("backend").value || !next) throw error;
        ({ key, backend } = await chooseBackend("", STYLES[0], next));
      }
    }
  };

  const split = () => {
    const share = Number(by("split").value);
    canvas.style.clipPath = share > 0 ? `inset(0 0 0 ${share}%)` : "";
    by("line").style.left = `${Math.max(share, 0)}%`;
  };

  // The picture: both styles mixed, then mixed with the photo. Values are rounded as `tinystyle stylize --strength` does.
  const compose = () => {
    const [one, two] = names().map((style) => outputs.get(style));
    if (!one || (names().length > 1 && !two)) return;
    const strength = by("strength").value / 100, mix = two ? by("mix").value / 100 : 0;
    let picture = one;
    if (strength < 1 || two) {
      picture = new Uint8ClampedArray(one.length);
      for (let i = 0; i < one.length; i++) {
        const painted = two ? one[i] + (two[i] - one[i]) * mix : one[i];
        picture[i] = Math.round(photo.data[i] + (painted - photo.data[i]) * strength);
      }
    }
    screen.putImageData(new ImageData(picture, photo.width, photo.height), 0, 0);
  };

  const show = (pixels) => {
    photo = pixels;
    outputs = new Map();
    for (const each of [canvas, by("before")]) Object.assign(each, { width: photo.width, height: photo.height });
    // As large as there is room for, but no more than three times enlarged.
    by("frame").style.setProperty("--wide", `${3 * photo.width}px`);
    by("frame").style.setProperty("--ratio", photo.width / photo.height);
    drawing(by("before")).putImageData(photo, 0, 0);
    screen.putImageData(photo, 0, 0);
  };

  const paint = async () => {
    const mine = ++job;
    root.dataset.state = "busy";
    by("frame").classList.add("busy");
    try {
      await queued(async () => {
        if (mine !== job) return;
        const missing = names().filter((style) => !outputs.has(style)), begin = performance.now();
        if (missing.length && together()) outputs = new Map();
        for (const style of missing) outputs.set(style, await computed(style, photo));
        const time = (performance.now() - begin) / Math.max(1, missing.length);
        if (mine !== job) return;
        compose();
        if (missing.length) say(`${photo.width} × ${photo.height} in ${milliseconds(time)} with ${backend.name}`);
        if (missing.length) Object.assign(root.dataset, { milliseconds: time, backend: key });
      });
      if (mine === job) root.dataset.state = "done";
    } catch (error) {
      complain(new Error(`This picture could not be painted: ${error.message}. Try a smaller size.`));
    }
    if (mine === job) by("frame").classList.remove("busy");
  };

  // A small picture of every style beside its name.
  const thumbnails = async () => {
    const mine = photo;
    const side = 96, square = Math.min(photo.width, photo.height), small = canvasOf(side, side), to = drawing(small);
    to.imageSmoothingQuality = "high";
    to.drawImage(by("before"), (photo.width - square) / 2, (photo.height - square) / 2, square, square, 0, 0, side, side);
    const pixels = to.getImageData(0, 0, side, side);
    for (const [style, each] of [...document.querySelectorAll("#styles canvas")].entries()) {
      await queued(async () => {
        if (mine !== photo || camera) return;
        Object.assign(each, { width: side, height: side });
        drawing(each).putImageData(new ImageData(await computed(style, pixels), side, side), 0, 0);
      }).catch(() => {});
    }
  };

  const take = async (source, width, height) => {
    complain();
    image = { source, width, height };
    show(pixelsOf(source, width, height, most()));
    await paint();
    await thumbnails();
  };

  const open = async (file) => {
    if (!file) return;
    stop();
    try {
      const source = await opened(file);
      await take(source, source.naturalWidth, source.naturalHeight);
    } catch (error) {
      complain(error);
    }
  };

  const stop = () => {
    camera?.getTracks().forEach((track) => track.stop());
    camera = undefined;
    by("camera").setAttribute("aria-pressed", "false");
    by("camera").textContent = "Camera";
  };

  const live = async () => {
    const video = by("video"), mine = camera;
    video.srcObject = camera;
    await video.play();
    let time = 0;
    while (camera === mine) {
      const begin = performance.now(), frame = pixelsOf(video, video.videoWidth, video.videoHeight, most());
      if (!photo || frame.width !== photo.width || frame.height !== photo.height) show(frame);
      photo = frame;
      const made = new Map();
      await queued(async () => {
        for (const style of names()) made.set(style, await computed(style, frame));
      });
      if (camera !== mine) return;
      outputs = made;
      drawing(by("before")).putImageData(frame, 0, 0);
      compose();
      await new Promise(requestAnimationFrame);
      time = time ? 0.8 * time + 0.2 * (performance.now() - begin) : performance.now() - begin;
      say(`${(1000 / time).toFixed(1)} frames per second at ${frame.width} × ${frame.height} with ${backend.name}`);
      root.dataset.state = "live";
      root.dataset.frames = Number(root.dataset.frames ?? 0) + 1;
    }
  };

  by("camera").onclick = async () => {
    if (camera) {
      stop();
      image = { source: by("before"), width: photo.width, height: photo.height };
      const still = canvasOf(photo.width, photo.height);
      drawing(still).putImageData(photo, 0, 0);
      await take(still, photo.width, photo.height);
      return;
    }
    complain();
    try {
      if (!navigator.mediaDevices) throw new Error("The camera needs an https address or a file on this device.");
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } } });
      job++;
      by("frame").classList.remove("busy");
      by("camera").setAttribute("aria-pressed", "true");
      by("camera").textContent = "Stop the camera";
      await live();
    } catch (error) {
      stop();
      const reasons = { NotAllowedError: "The camera was not allowed. Allow it for this page, then try again.", NotFoundError: "There is no camera here." };
      complain(new Error(reasons[error.name] ?? `The camera does not work: ${error.message}`));
    }
  };
  by("save").onclick = () => canvas.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${STYLES[chosen()].name.toLowerCase().replaceAll(" ", "-")}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
  by("file").onchange = (event) => {
    open(event.target.files[0]);
    event.target.value = "";
  };
  by("split").oninput = split;
  const labels = () => {
    by("strength-is").textContent = `${by("strength").value}%`;
    by("mix-is").textContent = `${by("mix").value}%`;
    by("mixing").hidden = second() < 0;
  };
  for (const id of ["strength", "mix"]) by(id).oninput = () => {
    labels();
    if (id === "mix" && together() && !camera) paint();
    else compose();
  };
  const restyle = () => {
    labels();
    if (!camera) paint();
  };
  by("second").onchange = restyle;
  by("size").onchange = () => {
    if (!camera && image) take(image.source, image.width, image.height);
  };
  by("backend").onchange = async () => {
    complain();
    try {
      await queued(async () => ({ key, backend } = await chooseBackend(by("backend").value, STYLES[0])));
      if (!camera && image) await take(image.source, image.width, image.height);
    } catch (error) {
      complain(new Error(`That does not work here: ${error.message}. ${backend.name} goes on.`));
    }
  };
  let inside = 0;
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(type, (event) => {
    event.preventDefault();
    inside = { dragenter: inside + 1, dragover: inside, dragleave: inside - 1, drop: 0 }[type];
    by("frame").classList.toggle("over", inside > 0);
    if (type === "drop") open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => open(event.clipboardData.files[0]));

  STYLES.forEach(({ name, about }, style) => {
    const label = document.createElement("label"), input = document.createElement("input"), picture = canvasOf(96, 96);
    Object.assign(input, { type: "radio", name: "style", value: style, checked: style === 0, onchange: restyle });
    picture.setAttribute("aria-hidden", "true");
    label.title = about;
    label.append(input, picture, name);
    by("styles").append(label);
    by("second").append(new Option(name, style));
  });
  by("second").prepend(new Option("No other style", "", true, true));
  by("blending").hidden = STYLES.length < 2;
  for (const name of ["backend", "size"]) {
    const value = query.get(name);
    if ([...by(name).options].some((option) => option.value === value)) by(name).value = value;
  }
  labels();
  split();
  try {
    readWeights(STYLES, await WEIGHTS);
    const weights = STYLES[0].layers.reduce((sum, layer) => sum + layer.weights.length + 2 * layer.out, 0);
    by("facts").textContent = `${STYLES.slice(1).some(({ of }) => of !== 0) || !STYLES[1] ? "Each style is a" : "The styles share one"} network of ${weights.toLocaleString("en")} weights. This page, with ${STYLES.length === 1 ? "its one style" : `all ${STYLES.length} of them`} and all its code, has ${Math.round(BYTES / 1000)} KB.`;
    const choice = await chooseBackend(by("backend").value, STYLES[0]);
    ({ key, backend } = choice);
    if (choice.why) by("backend").title = choice.why;
  } catch (error) {
    say("");
    complain(new Error(`This page cannot compute here: ${error.message}.`));
    return;
  }
  const scene = scenery();
  await take(scene, scene.width, scene.height);
})();
