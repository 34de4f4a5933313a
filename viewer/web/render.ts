// The 3-D pane, drawn by NiiVue (WebGL2). A bundle of its own, so that the planes need not wait for it.

import { Niivue, NVImage, NVMesh, SLICE_TYPE, DRAG_MODE } from "@niivue/niivue";

/** A volume with opacity only from `min` HU on: what is thinner, such as the room's air, is not there at all. */
export interface Tissue { name: string; min: number; max: number; R: number[]; G: number[]; B: number[]; A: number[]; I: number[] }

export interface Surface { name: string; stl: ArrayBuffer; color: [number, number, number]; opacity: number }

export interface Scene {
  showVolume(file: ArrayBuffer, tissue: Tissue): Promise<void>;
  showSurfaces(surfaces: Surface[]): Promise<void>;
  look(azimuth: number, elevation: number, scale: number): void;
  clear(): void;
  draw(): void;
}

/** The orientation cube without colors: blue, red and the others have a meaning in the planes. */
function grayCube({ gl, orientCubeShaderVAO }: Niivue): void {
  gl.bindVertexArray(orientCubeShaderVAO);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.getVertexAttrib(1, gl.VERTEX_ATTRIB_ARRAY_BUFFER_BINDING) as WebGLBuffer);
  const corners = new Float32Array(gl.getBufferParameter(gl.ARRAY_BUFFER, gl.BUFFER_SIZE) as number / 4);
  gl.getBufferSubData(gl.ARRAY_BUFFER, 0, corners);
  for (let at = 0; at + 6 <= corners.length; at += 6) { // a place, then red, green, blue
    corners.fill(0.3 * corners[at + 3] + 0.59 * corners[at + 4] + 0.11 * corners[at + 5], at + 3, at + 6);
  }
  gl.bufferSubData(gl.ARRAY_BUFFER, 0, corners);
  gl.bindVertexArray(null);
}

export async function createScene(canvas: HTMLCanvasElement): Promise<Scene> {
  const view = new Niivue({
    logLevel: "silent" as never, backColor: [0, 0, 0, 1], sliceType: SLICE_TYPE.RENDER, show3Dcrosshair: false, crosshairWidth: 0,
    isColorbar: false, isOrientCube: true, isOrientationTextVisible: false, dragAndDropEnabled: false, dragMode: DRAG_MODE.none,
    clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "", scrollRequiresFocus: false, isAntiAlias: true,
    showLegend: false, loadingText: "",
  });
  await view.attachToCanvas(canvas);
  grayCube(view);

  const empty = () => {
    for (const volume of [...view.volumes]) view.removeVolume(volume);
    for (const mesh of [...view.meshes]) view.removeMesh(mesh);
  };
  return {
    async showVolume(file, tissue) {
      view.addColormap(tissue.name, tissue);
      const image = await NVImage.loadFromUrl({
        url: "scan.nii", name: "scan.nii", buffer: file, colormap: tissue.name, cal_min: tissue.min, cal_max: tissue.max,
      });
      empty();
      view.addVolume(image);
      await view.setVolumeRenderIllumination(0.5);
    },
    async showSurfaces(surfaces) {
      const gl = view.gl;
      const meshes = await Promise.all(surfaces.map(({ name, stl, color, opacity }) =>
        NVMesh.readMesh(stl, `${name}.stl`, gl, opacity, new Uint8Array([...color, 255]))));
      empty();
      meshes.forEach((mesh) => view.addMesh(mesh));
    },
    look(azimuth, elevation, scale) {
      view.volScaleMultiplier = scale;
      view.setRenderAzimuthElevation(azimuth, elevation);
    },
    clear: empty,
    draw: () => view.drawScene(),
  };
}
