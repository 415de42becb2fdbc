"""Names of classes that a Swift file cannot have, and the classes that Xcode generates from a Core ML file.

No Swift compiler and no Apple framework is here: the names are those of Swift's and Apple's documentation.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["model_name_hint", "taken_by", "xcode_classes"]

# The Swift Programming Language, "Lexical Structure": reserved words, and those that are reserved in some contexts.
_WORDS = """
    actor Any as associatedtype async await borrowing break case catch class consuming continue default defer deinit
    do else enum extension fallthrough false fileprivate for func get guard if import in indirect init inout internal
    is isolated lazy let macro mutating nil nonisolated open operator override package precedencegroup private
    Protocol protocol public repeat required rethrows return Self self sending set some static struct subscript super
    switch throw throws true try Type typealias unowned var weak where while
"""
_MODULES = """
    Accelerate AppKit ARKit AVFoundation AVKit CloudKit Combine CoreData CoreFoundation CoreGraphics CoreImage
    CoreLocation CoreMedia CoreML CoreMotion CoreText CoreVideo CreateML CreateMLComponents Darwin Dispatch Foundation
    GameplayKit ImageIO MapKit Metal MetalKit MetalPerformanceShaders NaturalLanguage Network Observation OSLog Photos
    PhotosUI QuartzCore RealityKit SceneKit Security SoundAnalysis Speech SpriteKit StoreKit Swift SwiftData SwiftUI
    Testing UIKit UniformTypeIdentifiers UserNotifications Vision WebKit WidgetKit XCTest
"""
_STANDARD_LIBRARY = """
    Actor AnyActor AnyBidirectionalCollection AnyClass AnyCollection AnyHashable AnyIndex AnyIterator AnyKeyPath
    AnyObject AnyRandomAccessCollection AnySequence Array ArrayLiteral ArraySlice AsyncIteratorProtocol AsyncSequence
    AsyncStream AsyncThrowingStream BidirectionalCollection BinaryFloatingPoint BinaryInteger BitwiseCopyable Bool
    CancellationError CaseIterable Character Clock ClosedRange Codable CodingKey CodingUserInfoKey Collection
    CollectionDifference CollectionOfOne Comparable ContiguousArray ContinuousClock Copyable
    CustomDebugStringConvertible CustomReflectable CustomStringConvertible CVarArg Decodable Decoder DecodingError
    DefaultIndices DefaultStringInterpolation Dictionary DiscontiguousSlice Double Duration EmptyCollection Encodable
    Encoder EncodingError EnumeratedSequence Equatable Error Escapable Executor ExpressibleByArrayLiteral
    ExpressibleByBooleanLiteral ExpressibleByDictionaryLiteral ExpressibleByFloatLiteral ExpressibleByIntegerLiteral
    ExpressibleByNilLiteral ExpressibleByStringLiteral FixedWidthInteger FlattenSequence Float Float16 Float32 Float64
    Float80 FloatingPoint FloatingPointSign GlobalActor Hashable Hasher Identifiable InlineArray InstantProtocol Int
    Int128 Int16 Int32 Int64 Int8 IteratorProtocol IteratorSequence JoinedSequence KeyedDecodingContainer
    KeyedEncodingContainer KeyPath KeyValuePairs LazyCollection LazySequence LosslessStringConvertible MainActor
    ManagedBuffer MemoryLayout Mirror MutableCollection Never Numeric ObjectIdentifier ObservableObject OpaquePointer
    Optional OptionSet PartialKeyPath PartialRangeFrom PartialRangeThrough PartialRangeUpTo RandomAccessCollection
    RandomNumberGenerator Range RangeExpression RangeReplaceableCollection RangeSet RawRepresentable
    ReferenceWritableKeyPath Regex Repeated Result ReversedCollection Sendable Sequence Set SetAlgebra SignedInteger
    SignedNumeric SIMD SIMD16 SIMD2 SIMD3 SIMD32 SIMD4 SIMD64 SIMD8 Slice Span StaticBigInt StaticString Strideable
    StrideThrough StrideTo String StringInterpolationProtocol StringProtocol Substring SuspendingClock
    SystemRandomNumberGenerator Task TaskGroup TaskLocal TaskPriority TextOutputStream TextOutputStreamable
    ThrowingTaskGroup UInt UInt128 UInt16 UInt32 UInt64 UInt8 UnboundedRange Unicode UnkeyedDecodingContainer
    Unmanaged UnsafeBufferPointer UnsafeMutableBufferPointer UnsafeMutablePointer UnsafeMutableRawPointer
    UnsafePointer UnsafeRawBufferPointer UnsafeRawPointer UnsignedInteger Void WritableKeyPath Zip2Sequence
"""
_FRAMEWORKS = """
    AffineTransform Alert Alignment Anchor Angle AngularGradient Animation AnyCancellable AnyPublisher AnyShape
    AnyTransition AnyView App AppStorage AsyncImage AttributeContainer AttributedString Axis AxisMarks Bindable
    BindableObject Binding BlendMode BlockOperation Bundle Button ButtonStyle ByteCountFormatStyle ByteCountFormatter
    Cache Calendar Cancellable Canvas Capsule CharacterSet Chart Circle CocoaError Color ColorPicker ColorScheme
    Commands ContentMode ContentView ControlGroup CurrentValueSubject Data DataProtocol Date DateComponents
    DateFormatter DateInterval DatePicker Decimal Dimension DisclosureGroup DispatchGroup DispatchQueue
    DispatchSemaphore DispatchTime DispatchWorkItem Divider DragGesture Edge EdgeInsets EditButton Ellipse EmptyView
    Environment EnvironmentKey EnvironmentObject EnvironmentValues EquatableView FetchRequest FileHandle FileManager
    FileWrapper FocusState Font ForEach Form FormatStyle Formatter Future GeometryProxy GeometryReader Gesture
    GestureState Gradient GraphicsContext Grid GridItem GridRow Group GroupBox Host HStack HTTPCookie HTTPURLResponse
    Image ImageRenderer IndexPath IndexSet InputStream JSONDecoder JSONEncoder JSONSerialization Just Label LabelStyle
    Layout LazyHGrid LazyHStack LazyVGrid LazyVStack Line LinearGradient Link List Locale LocalizedError
    LocalizedStringResource Logger LongPressGesture MagnifyGesture Material Measurement MeasurementFormatter Menu
    Model ModelContainer ModelContext Morphology NavigationLink NavigationPath NavigationSplitView NavigationStack
    NavigationView Notification NotificationCenter NumberFormatter Observable ObservedObject Operation OperationQueue
    OutlineGroup OutputStream PassthroughSubject Path PersonNameComponents PhaseAnimator PhotosPicker PhotosPickerItem
    Picker Pipe Point Port Predicate PreferenceKey Preview PreviewProvider PrimitiveButtonStyle Process ProcessInfo
    Progress ProgressView PropertyListDecoder PropertyListEncoder Published Publisher Publishers Query RadialGradient
    Rectangle RelativeDateTimeFormatter RotateGesture RotationGesture RoundedRectangle RunLoop ScaledMetric Scanner
    Scene SceneStorage ScrollView ScrollViewReader Section SecureField Selector Settings Shape ShapeStyle ShareLink
    Slider SortDescriptor Spacer State StateObject Stepper Stream Subject Subscriber Subscribers Subscription Tab
    Table TabView TapGesture Text TextEditor TextField TextStyle Thread TimeInterval TimelineView Timer TimeZone
    Toggle ToggleStyle Toolbar ToolbarItem Transaction Transferable Transform Transition Undo UndoManager Unit
    UnitLength UnitPoint URL URLCache URLComponents URLError URLQueryItem URLRequest URLResponse URLSession
    UserDefaults UTType UUID View ViewBuilder ViewModifier VStack Window WindowGroup XMLParser ZStack
"""
_TAKEN = frozenset(f"{_MODULES} {_STANDARD_LIBRARY} {_FRAMEWORKS}".split())
_RESERVED = frozenset(_WORDS.split())
# Prefixes of the frameworks that an app with pictures imports; MLModel, CIImage, CGRect, NSObject.
_PREFIXED = re.compile(r"(AV|CA|CF|CG|CI|CM|CV|ML|MTK|MTL|NS|PH|UI|VN)[A-Z][a-z]\w*")


def taken_by(name: str) -> str | None:
    """Return what has a name already, in words, or None: Swift itself, its library, or one of Apple's frameworks."""
    if name in _RESERVED:
        return "a word of Swift"
    if name in _TAKEN:
        return "taken in Swift or Apple's frameworks"
    return "like those of Apple's frameworks" if _PREFIXED.fullmatch(name) else None


def xcode_classes(path: Path) -> tuple[str, str, str]:
    """Return the classes that Xcode generates for a model file: the model's, that of its inputs and of its outputs.

    The model's is the file's name, with `_` for anything but letters and digits.
    """
    name = re.sub(r"\W", "_", path.stem)
    name = f"_{name}" if name[:1].isdigit() else name
    return name, f"{name}Input", f"{name}Output"


def model_name_hint(path: Path) -> str | None:
    """Return what to know about the name of a Core ML file before it goes into an app, in one sentence, or None."""
    generated, *_ = xcode_classes(path)
    if owner := taken_by(generated):
        return (
            f"{path.name}: Xcode generates a class {generated} from this name, which is {owner}, so an app with it "
            f"does not build, or means another; name the file differently, such as {path.stem}-style{path.suffix}"
        )
    for other in _siblings(path):
        if other.name.lower() == path.name.lower():
            return f"{path.name}: {other.name} beside it is the same file where case does not count, as on macOS; rename one"
        clash = {name.lower() for name in xcode_classes(other)} & {name.lower() for name in xcode_classes(path)}
        if clash and other.stem != path.stem:
            return f"{path.name}: Xcode generates a class {min(clash)} from {other.name} too, so no app can have both"
    return None


def _siblings(path: Path) -> list[Path]:
    """Return the other Core ML files in the folder of `path`."""
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(other for other in found if other.suffix in (".mlmodel", ".mlpackage") and other.name != path.name)
