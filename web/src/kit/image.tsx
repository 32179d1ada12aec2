/** Images of pixels in [-1, 1] on canvases of their own size; CSS enlarges them without smoothing. */
import type { ButtonHTMLAttributes } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** (C, H, W) */
export type ImageShape = [number, number, number];

export function drawImage(canvas: HTMLCanvasElement, pixels: Float32Array, [channels, height, width]: ImageShape) {
  const context = canvas.getContext("2d")!;
  const data = context.createImageData(width, height);
  const plane = height * width;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = (pixels[channels === 1 ? i : c * plane + i] + 1) * 127.5;
    data.data[4 * i + 3] = 255;
  }
  context.putImageData(data, 0, 0);
}

interface ImageProps {
  pixels: Float32Array | null;
  shape: ImageShape;
  label?: string; // For those who do not see it; none if a text beside it says the same
}

export function Image({ pixels, shape, label }: ImageProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (pixels) drawImage(canvas.current!, pixels, shape);
  }, [pixels, shape.join()]);
  const alternative = label ? { role: "img" as const, "aria-label": label } : { "aria-hidden": "true" as const };
  return <canvas ref={canvas} width={shape[2]} height={shape[1]} class="image" {...alternative} />;
}

export const Figure = ({ caption, ...image }: ImageProps & { caption: string }) => (
  <figure>
    <Image {...image} label={image.label ?? caption} />
    <figcaption>{caption}</figcaption>
  </figure>
);

type PictureButtonProps = Omit<ImageProps, "label"> & ButtonHTMLAttributes<HTMLButtonElement>;

/** An image as a button, whose `children` stand below it. */
export const PictureButton = ({ pixels, shape, children, ...attributes }: PictureButtonProps) => (
  <button type="button" class="picture-button" {...attributes}>
    <Image pixels={pixels} shape={shape} />
    {children}
  </button>
);

export function imageCanvas(pixels: Float32Array, shape: ImageShape): HTMLCanvasElement {
  const canvas = newCanvas(shape[2], shape[1]);
  drawImage(canvas, pixels, shape);
  return canvas;
}

/** Returns a canvas with an image enlarged without smoothing, for files. */
export function enlarge(pixels: Float32Array, shape: ImageShape, scale: number): HTMLCanvasElement {
  const canvas = newCanvas(shape[2] * scale, shape[1] * scale);
  const context = canvas.getContext("2d")!;
  context.imageSmoothingEnabled = false;
  context.drawImage(imageCanvas(pixels, shape), 0, 0, canvas.width, canvas.height);
  return canvas;
}

export const newCanvas = (width: number, height: number) =>
  Object.assign(document.createElement("canvas"), { width, height });

/** Integer scale that makes an image about `size` pixels wide. */
export const scaleTo = ([, , width]: ImageShape, size: number) => Math.max(1, Math.round(size / width));
