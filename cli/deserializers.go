package cli

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// deserializer turns bytes into the text that Java's toString of the
// deserialized object gives.
type deserializer func(b []byte) ([]byte, error)

const serializationPackage = "org.apache.kafka.common.serialization."

// deserializers by their class name without the package.
var deserializers = map[string]deserializer{
	"StringDeserializer":    func(b []byte) ([]byte, error) { return toUTF8(b), nil },
	"ByteArrayDeserializer": func(b []byte) ([]byte, error) { return b, nil },
	"BytesDeserializer":     func(b []byte) ([]byte, error) { return bytesText(b), nil },
	"ByteBufferDeserializer": func(b []byte) ([]byte, error) {
		return fmt.Appendf(nil, "java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", len(b), len(b)), nil
	},
	"LongDeserializer": fixed("LongDeserializer", 8, func(b []byte) string {
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10)
	}),
	"IntegerDeserializer": fixed("IntegerDeserializer", 4, func(b []byte) string {
		return strconv.FormatInt(int64(int32(binary.BigEndian.Uint32(b))), 10)
	}),
	"ShortDeserializer": fixed("ShortDeserializer", 2, func(b []byte) string {
		return strconv.FormatInt(int64(int16(binary.BigEndian.Uint16(b))), 10)
	}),
	"DoubleDeserializer": fixed("Deserializer", 8, func(b []byte) string {
		return javaFloat(math.Float64frombits(binary.BigEndian.Uint64(b)), 64)
	}),
	"FloatDeserializer": fixed("Deserializer", 4, func(b []byte) string {
		return javaFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32)
	}),
	"BooleanDeserializer": deserializeBoolean,
	"UUIDDeserializer":    deserializeUUID,
	"VoidDeserializer": func(b []byte) ([]byte, error) {
		return nil, errors.New("Data should be null for a VoidDeserializer.")
	},
}

// findDeserializer accepts a class name, with or without Kafka's package.
func findDeserializer(class string) (deserializer, error) {
	if d, ok := deserializers[strings.TrimPrefix(class, serializationPackage)]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("Unable to instantiate a deserializer from %s", class)
}

func fixed(name string, size int, text func([]byte) string) deserializer {
	return func(b []byte) ([]byte, error) {
		if len(b) != size {
			return nil, fmt.Errorf("Size of data received by %s is not %d", name, size)
		}
		return []byte(text(b)), nil
	}
}

func deserializeBoolean(b []byte) ([]byte, error) {
	switch {
	case len(b) != 1:
		return nil, errors.New("Size of data received by BooleanDeserializer is not 1")
	case b[0] == 1:
		return []byte("true"), nil
	case b[0] == 0:
		return []byte("false"), nil
	}
	return nil, fmt.Errorf("Unexpected byte received by BooleanDeserializer: %d", int8(b[0]))
}

// deserializeUUID reads the 36 letters of a UUID and prints them in lower case.
func deserializeUUID(b []byte) ([]byte, error) {
	s := strings.ToLower(string(b))
	if _, err := hex.DecodeString(strings.ReplaceAll(s, "-", "")); err != nil || len(s) != 36 || strings.Count(s, "-") != 4 {
		return nil, errors.New("Error parsing data into UUID")
	}
	return []byte(s), nil
}

// toUTF8 replaces what is not UTF-8 as decoding into a Java string does: one
// replacement character for each sequence that breaks off or cannot begin.
func toUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenSequence(b)
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return out
}

// brokenSequence is the length of the longest beginning of b that could have
// begun a character, at least 1.
func brokenSequence(b []byte) int {
	want, low, high := 0, byte(0x80), byte(0xBF)
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		want = 1
	case c >= 0xE0 && c <= 0xEF:
		want = 2
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		want = 3
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for ; n <= want && n < len(b) && b[n] >= low && b[n] <= high; n++ {
		low, high = 0x80, 0xBF
	}
	return n
}

// bytesText is org.apache.kafka.common.utils.Bytes.toString: printable ASCII as
// it is, the rest as \xHH.
func bytesText(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c >= ' ' && c <= '~' && c != '\\' {
			out = append(out, c)
		} else {
			out = fmt.Appendf(out, "\\x%02X", c)
		}
	}
	return out
}

// javaFloat is Double.toString or Float.toString of JDK 19 and later: the
// shortest digits that read back the same.
func javaFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		if math.Signbit(f) {
			return "-0.0"
		}
		return "0.0"
	}
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}
