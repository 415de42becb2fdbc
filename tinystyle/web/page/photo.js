// Photos: from files, from the camera, and one that is drawn here, so that there is a picture before there is a photo.

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

const drawing = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

// Pixels of an image, at most `most` on the longer side, on white where it is transparent.
const pixelsOf = (image, width, height, most) => {
  const scale = Math.min(1, most / Math.max(width, height));
  const canvas = canvasOf(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const to = drawing(canvas);
  to.fillStyle = "#fff";
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.imageSmoothingQuality = "high";
  to.drawImage(image, 0, 0, canvas.width, canvas.height);
  return to.getImageData(0, 0, canvas.width, canvas.height);
};

// An <img> turns a photo as its EXIF orientation says; the browser decides what is an image.
const opened = async (file) => {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch {
    throw new Error(`${file.name || "That"} is not an image that this browser can open. Try a JPEG, PNG or WebP file.`);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  if (!image.naturalWidth || !image.naturalHeight) throw new Error(`${file.name} says no size. Try a JPEG, PNG or WebP file.`);
  return image;
};

// A lake in the evening.
const scenery = () => {
  const canvas = canvasOf(720, 480), to = drawing(canvas);
  const fade = (y0, y1, ...colors) => {
    const made = to.createLinearGradient(0, y0, 0, y1);
    colors.forEach((color, i) => made.addColorStop(i / (colors.length - 1), color));
    return made;
  };
  to.fillStyle = fade(0, 300, "#27508f", "#7aa6d8", "#f3c58a", "#f08a4b");
  to.fillRect(0, 0, 720, 480);
  to.fillStyle = "#fff3c4";
  to.beginPath();
  to.arc(500, 214, 42, 0, 7);
  to.fill();
  to.fillStyle = "#ffffffb0";
  for (const [x, y, r] of [[130, 96, 80], [210, 76, 70], [280, 104, 84], [600, 70, 66], [660, 92, 60]]) {
    to.beginPath();
    to.ellipse(x, y, r, r / 4, 0, 0, 7);
    to.fill();
  }
  [["#6f7fa8", 190, 60], ["#4c5f86", 236, 44], ["#2f4a55", 276, 26]].forEach(([color, level, height], k) => {
    to.fillStyle = color;
    to.beginPath();
    to.moveTo(0, 310);
    for (let x = 0; x <= 720; x += 4) to.lineTo(x, level - height * (Math.sin(x / (83 - 21 * k) + k * 2) + 0.4 * Math.sin(x / 29 + k)));
    to.lineTo(720, 310);
    to.fill();
  });
  to.fillStyle = fade(300, 480, "#e9a06a", "#5d7fae", "#1d3557");
  to.fillRect(0, 300, 720, 180);
  for (let i = 0; i < 90; i++) {
    to.fillStyle = i % 3 ? "#ffffff38" : "#0b203c38";
    to.fillRect((i * 197) % 720 - 40, 306 + (i * i * 13) % 170, 40 + (i * 53) % 90, 2);
  }
  for (let i = 0; i < 34; i++) {
    to.fillStyle = "#fff0b8a0";
    to.fillRect(500 - 34 + ((i * 37) % 50) - i / 2, 304 + i * 5, 24 + (i * 17) % 30, 2.4);
  }
  to.fillStyle = "#13242b";
  to.fillRect(84, 250, 14, 190);
  for (let i = 0; i < 60; i++) {
    to.fillStyle = i % 2 ? "#1d3b2f" : "#2c5a3c";
    to.beginPath();
    to.arc(90 + Math.cos(i * 2.4) * i * 1.35, 226 + Math.sin(i * 2.4) * i * 1.1, 22, 0, 7);
    to.fill();
  }
  to.fillStyle = "#16302a";
  to.beginPath();
  to.moveTo(0, 480);
  for (let x = 0; x <= 330; x += 6) to.lineTo(x, 440 - 22 * Math.cos(x / 105) - 5 * Math.sin(x));
  to.lineTo(360, 480);
  to.fill();
  return canvas;
};
