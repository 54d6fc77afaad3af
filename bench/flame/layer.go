package flame

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"
)

// Layer is whose code a frame is; it chooses the colour.
type Layer string

// The layers, in the order of the legend.
const (
	LayerBroker   Layer = "broker"
	LayerStorage  Layer = "storage"
	LayerRecord   Layer = "record"
	LayerIOUring  Layer = "iouring"
	LayerZeroCopy Layer = "zerocopy"
	LayerFreshet  Layer = "freshet" // the project's other packages
	LayerSyscall  Layer = "syscall"
	LayerKernel   Layer = "kernel"
	LayerRuntime  Layer = "runtime"
	LayerOther    Layer = "other" // the standard library and modules
)

// layerColours give each layer a hue in degrees, a saturation and a lightness
// in per cent.
var layerColours = []struct {
	layer                       Layer
	hue, saturation, luminosity float64
}{
	{LayerBroker, 14, 82, 67},
	{LayerStorage, 40, 88, 63},
	{LayerRecord, 92, 46, 62},
	{LayerIOUring, 168, 45, 57},
	{LayerZeroCopy, 196, 68, 65},
	{LayerFreshet, 330, 52, 75},
	{LayerSyscall, 268, 48, 75},
	{LayerKernel, 226, 48, 76},
	{LayerRuntime, 220, 9, 76},
	{LayerOther, 46, 22, 79},
}

// KernelSuffix marks a kernel frame of a perf profile.
const KernelSuffix = "_[k]"

// LayerOf tells a function's layer by its name.
func LayerOf(function string) Layer {
	if strings.HasSuffix(function, KernelSuffix) {
		return LayerKernel
	}
	switch pkg := packageOf(function); pkg {
	case "freshet/broker":
		return LayerBroker
	case "freshet/record":
		return LayerRecord
	case "freshet/iouring":
		return LayerIOUring
	case "freshet/zerocopy":
		return LayerZeroCopy
	case "freshet/storage", "freshet/vfs":
		return LayerStorage
	case "syscall", "internal/poll", "golang.org/x/sys/unix", "internal/syscall/unix", "runtime/internal/syscall":
		return LayerSyscall
	case "runtime", "sync", "sync/atomic", "gogo", "memeqbody", "cmpbody", "aeshashbody":
		return LayerRuntime
	default:
		switch {
		case within(pkg, "freshet/storage"):
			return LayerStorage
		case within(pkg, "freshet/broker"):
			return LayerBroker
		case within(pkg, "freshet"):
			return LayerFreshet
		case within(pkg, "internal/runtime/syscall"):
			return LayerSyscall
		case within(pkg, "runtime"), within(pkg, "internal/runtime"):
			return LayerRuntime
		}
		return LayerOther
	}
}

func within(pkg, base string) bool { return pkg == base || strings.HasPrefix(pkg, base+"/") }

// packageOf is the import path in a Go symbol: what stands before the first dot
// after the last slash. Type arguments in brackets have slashes of their own.
func packageOf(function string) string {
	name, _, _ := strings.Cut(function, "[")
	slash := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[slash:], '.'); dot >= 0 {
		return name[:slash+dot]
	}
	return name
}

// shortName leaves out the import path but for its last element.
func shortName(function string) string {
	function = strings.TrimSuffix(function, KernelSuffix) // the colour says it
	name, arguments, generic := strings.Cut(function, "[")
	name = name[strings.LastIndexByte(name, '/')+1:]
	if generic {
		name += "[" + arguments
	}
	return name
}

// layerShares are the shares of the profile spent in each layer's own frames.
func layerShares(s *Stacks) map[Layer]float64 {
	total := s.Total()
	shares := make(map[Layer]float64)
	for _, stack := range s.Stacks {
		shares[LayerOf(stack.Frames[len(stack.Frames)-1])] += share(stack.Value, total)
	}
	return shares
}

// layerColour is the colour of a function; functions of one layer differ a
// little, so that neighbours can be told apart.
func layerColour(layer Layer, function string) string {
	h := fnv.New32a()
	h.Write([]byte(function))
	const shades = 5
	shade := float64(h.Sum32()%shades) - (shades-1)/2
	for _, c := range layerColours {
		if c.layer == layer {
			return hexColour(c.hue+shade*2, c.saturation, c.luminosity+shade*2)
		}
	}
	panic("BUG: a layer without a colour: " + string(layer))
}

// The change of a share, in percentage points, at which a differential graph's
// colour is full, and the one up to which it stays neutral.
const (
	fullChange    = 0.10
	neutralChange = 0.001
)

// changeColour is the colour of a frame whose share went from before to after:
// red when it grew, blue when it shrank, nearly white when it stayed.
func changeColour(before, after float64) string {
	change := after - before
	if math.Abs(change) < neutralChange {
		return hexColour(220, 8, 91)
	}
	// The root makes small changes visible.
	strength := math.Sqrt(min(math.Abs(change)/fullChange, 1))
	if change > 0 {
		return hexColour(6, 80, 91-strength*31)
	}
	return hexColour(214, 76, 91-strength*30)
}

// hexColour converts hue (degrees), saturation and lightness (per cent) to
// #rrggbb.
func hexColour(hue, saturation, lightness float64) string {
	hue = math.Mod(hue+360, 360)
	s, l := saturation/100, lightness/100
	a := s * min(l, 1-l)
	channel := func(n float64) int {
		k := math.Mod(n+hue/30, 12)
		return int(math.Round(255 * (l - a*max(-1, min(k-3, 9-k, 1)))))
	}
	return fmt.Sprintf("#%02x%02x%02x", channel(0), channel(8), channel(4))
}
