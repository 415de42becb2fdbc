// Runs Core ML files on this Mac's compute units, compares their images and times them. check_on_mac.sh compiles it:
//
//     check REPEATS MODEL... -- [PHOTO...]
//
// A row fails if a file does not compile or load, an image has another size or a single color (what NaN becomes in
// eight bits), or differs too much from the CPU's image. Exit code 1 if any row failed.

import CoreML
import CoreVideo
import Foundation
import Vision

struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// An image as RGB values, 0 to 255, three per pixel.
struct Pixels {
    let width: Int, height: Int
    let values: [UInt8]

    init(_ buffer: CVPixelBuffer) throws {
        guard CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA
        else { throw Failure("its image is not 32BGRA") }
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        guard let start = CVPixelBufferGetBaseAddress(buffer) else { throw Failure("its image cannot be read") }
        let (width, height) = (CVPixelBufferGetWidth(buffer), CVPixelBufferGetHeight(buffer))
        var values = [UInt8]()
        values.reserveCapacity(width * height * 3)
        for y in 0..<height {
            let row = start.advanced(by: y * CVPixelBufferGetBytesPerRow(buffer)).assumingMemoryBound(to: UInt8.self)
            for x in 0..<width {
                values += [row[4 * x + 2], row[4 * x + 1], row[4 * x]]
            }
        }
        self.width = width
        self.height = height
        self.values = values
    }

    var isOneColor: Bool {
        (0..<3).allSatisfy { channel in
            stride(from: channel, to: values.count, by: 3).allSatisfy { values[$0] == values[channel] }
        }
    }

    /// Returns the peak signal-to-noise ratio against an image of the same size, in dB; infinite if they are equal.
    func psnr(_ other: Pixels) -> Double {
        let squares = zip(values, other.values).reduce(0.0) { sum, pair in
            let difference = Double(pair.0) - Double(pair.1)
            return sum + difference * difference
        }
        return 10 * log10(255 * 255 * Double(values.count) / squares)
    }
}

/// Minimum PSNR against the CPU's image, in dB, because other units compute in float16. Chosen, not measured.
let lowestPSNR = 30.0
let warmUps = 3

/// Returns the compute units. The CPU comes first, because the others are compared with it.
func computeUnits() -> [(name: String, units: MLComputeUnits)] {
    var all: [(name: String, units: MLComputeUnits)] = [
        ("cpuOnly", .cpuOnly), ("cpuAndGPU", .cpuAndGPU), ("all", .all),
    ]
    if #available(macOS 13.0, *) { all.append(("cpuAndNeuralEngine", .cpuAndNeuralEngine)) }
    return all
}

/// Returns the photo stretched to a size, or a drawn image: color gradients with a texture.
func inputImage(_ photo: URL?, width: Int, height: Int) throws -> MLFeatureValue {
    if let photo {
        return try MLFeatureValue(
            imageAt: photo, pixelsWide: width, pixelsHigh: height, pixelFormatType: kCVPixelFormatType_32BGRA,
            options: [.cropAndScale: VNImageCropAndScaleOption.scaleFill.rawValue])
    }
    var made: CVPixelBuffer?
    let attributes = [kCVPixelBufferIOSurfacePropertiesKey as String: [:] as [String: Any]]
    CVPixelBufferCreate(
        kCFAllocatorDefault, width, height, kCVPixelFormatType_32BGRA, attributes as CFDictionary, &made)
    guard let buffer = made else { throw Failure("there is no memory for an image of \(width)x\(height)") }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let start = CVPixelBufferGetBaseAddress(buffer) else { throw Failure("an image cannot be drawn") }
    for y in 0..<height {
        let row = start.advanced(by: y * CVPixelBufferGetBytesPerRow(buffer)).assumingMemoryBound(to: UInt8.self)
        for x in 0..<width {
            row[4 * x] = UInt8((x * 7 + y * 13) % 256)
            row[4 * x + 1] = UInt8(y * 255 / height)
            row[4 * x + 2] = UInt8(x * 255 / width)
            row[4 * x + 3] = 255
        }
    }
    return MLFeatureValue(pixelBuffer: buffer)
}

/// A loaded model that takes one image and returns one.
struct Style {
    let model: MLModel
    let input: String, output: String
    /// The default size, and the sizes that the file lists.
    let sizes: [(width: Int, height: Int)]

    init(_ compiled: URL, _ units: MLComputeUnits) throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        model = try MLModel(contentsOf: compiled, configuration: configuration)
        let description = model.modelDescription
        guard let input = description.inputDescriptionsByName.first, description.inputDescriptionsByName.count == 1,
              let output = description.outputDescriptionsByName.first, description.outputDescriptionsByName.count == 1,
              output.value.type == .image, let constraint = input.value.imageConstraint
        else { throw Failure("it does not take one image and return one") }
        self.input = input.key
        self.output = output.key
        var sizes = [(width: constraint.pixelsWide, height: constraint.pixelsHigh)]
        if constraint.sizeConstraint.type == .enumerated {
            // One of these is the default size again; checking it twice does no harm.
            let listed = constraint.sizeConstraint.enumeratedImageSizes
            sizes += listed.map { (width: $0.pixelsWide, height: $0.pixelsHigh) }
        }
        self.sizes = sizes
    }

    func predict(_ image: MLFeatureValue) throws -> CVPixelBuffer {
        let features = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: [input: image]))
        guard let buffer = features.featureValue(for: output)?.imageBufferValue
        else { throw Failure("no image came back") }
        return buffer
    }
}

func milliseconds(_ work: () throws -> Void) rethrows -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    try work()
    return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e6
}

/// Makes one row: loads the model, checks every size and photo, and times the default size. Fills `cpu` if it is empty.
func check(
    _ compiled: URL, _ units: MLComputeUnits, _ photos: [URL?], _ repeats: Int, cpu: inout [Pixels]
) throws -> (row: String, passes: Bool) {
    var loaded: Style?
    let load = try milliseconds { loaded = try Style(compiled, units) }
    guard let style = loaded else { throw Failure("it does not load") }
    var images: [Pixels] = []
    for (width, height) in style.sizes {
        for photo in photos {
            let image = try Pixels(style.predict(inputImage(photo, width: width, height: height)))
            guard image.width == width, image.height == height
            else { throw Failure("an image of \(width)x\(height) came back as \(image.width)x\(image.height)") }
            guard !image.isOneColor else { throw Failure("its image has a single color") }
            images.append(image)
        }
    }
    if cpu.isEmpty { cpu = images }
    let psnr = zip(images, cpu).map { $0.psnr($1) }.min() ?? .infinity
    let first = try inputImage(photos[0], width: style.sizes[0].width, height: style.sizes[0].height)
    func time() throws -> Double {
        try autoreleasepool { try milliseconds { _ = try style.predict(first) } }
    }
    for _ in 0..<warmUps { _ = try time() }
    let times = try (0..<repeats).map { _ in try time() }.sorted()
    let size = "\(style.sizes[0].width)x\(style.sizes[0].height)"
    let row = size.padding(toLength: 11, withPad: " ", startingAt: 0)
        + String(format: "%9.1f %11.2f %10.2f %9.1f  ", load, times[times.count / 2], times[0], psnr)
    let passes = psnr >= lowestPSNR
    return (row + (passes ? "ok" : "FAIL: under \(lowestPSNR) dB"), passes)
}

let arguments = CommandLine.arguments.dropFirst()
guard let first = arguments.first, let repeats = Int(first), repeats > 0,
      let separator = arguments.firstIndex(of: "--")
else {
    print("usage: check REPEATS MODEL... -- [PHOTO...]")
    exit(2)
}
let models = arguments[..<separator].dropFirst().map { URL(fileURLWithPath: $0) }
let named = arguments[separator...].dropFirst().map { URL(fileURLWithPath: $0) }
let photos: [URL?] = named.isEmpty ? [nil] : named
var failed = false

print("\(photos.count) images per file and size; \(repeats) predictions timed, median and lowest; PSNR against cpuOnly")
print("file, compute units".padding(toLength: 44, withPad: " ", startingAt: 0)
    + "size         load ms   median ms  lowest ms   PSNR dB")
for model in models {
    var cpu: [Pixels] = []
    do {
        let compiled = try MLModel.compileModel(at: model)
        defer { try? FileManager.default.removeItem(at: compiled) }
        for (name, units) in computeUnits() {
            let label = "\(model.lastPathComponent), \(name)".padding(toLength: 44, withPad: " ", startingAt: 0)
            do {
                let result = try check(compiled, units, photos, repeats, cpu: &cpu)
                print(label + result.row)
                failed = failed || !result.passes
            } catch {
                failed = true
                print(label + "FAIL: \(error)")
            }
        }
    } catch {
        failed = true
        print("\(model.lastPathComponent): FAIL: Core ML does not compile it: \(error)")
    }
}
exit(failed ? 1 : 0)
