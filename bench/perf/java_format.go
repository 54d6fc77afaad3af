package perf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const bytesPerMB = 1024 * 1024

// javaFixed formats as Java's %.<digits>f: halves are rounded away from zero
// in decimal, and the special values have Java's names.
func javaFixed(v float64, digits int) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	shortest := strconv.FormatFloat(v, 'f', -1, 64)
	if _, fraction, _ := strings.Cut(shortest, "."); len(fraction) == digits+1 && fraction[digits] == '5' {
		v = math.Nextafter(v, math.Inf(int(math.Copysign(1, v))))
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// javaDouble formats as Java's Double.toString for the values of a latency in
// ms: at least one digit after the point, scientific below 1e-3 and from 1e7.
func javaDouble(v float64) string {
	if v != 0 && (math.Abs(v) < 1e-3 || math.Abs(v) >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', -1, 64), "e")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// DateFormat is a pattern of Java's SimpleDateFormat, as --date-format takes
// it, in the local zone and in English.
type DateFormat struct{ parts []datePart }

type datePart struct {
	letter byte // 0: literal
	count  int
	text   string
}

// ParseDateFormat reads a pattern; letters that SimpleDateFormat does not know
// are refused in its words, those it knows but this tool does not in ours.
func ParseDateFormat(pattern string) (DateFormat, error) {
	var f DateFormat
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			text, next, err := quoted(pattern, i)
			if err != nil {
				return f, err
			}
			f.parts = append(f.parts, datePart{text: text})
			i = next
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			if !strings.ContainsRune("GyYMLwWDdFEuaHkKhmsSzZX", rune(c)) {
				return f, fmt.Errorf("Illegal pattern character '%c'", c)
			}
			if !strings.ContainsRune("yMdDEuaHkKhmsSzZX", rune(c)) {
				return f, fmt.Errorf("the date format letter '%c' is not supported here; use y, M, d, D, E, u, a, H, k, K, h, m, s, S, z, Z or X", c)
			}
			f.parts = append(f.parts, datePart{letter: c, count: n})
			i += n
		default:
			f.parts = append(f.parts, datePart{text: string(c)})
			i++
		}
	}
	return f, nil
}

// quoted reads a quoted literal that starts at pattern[i]; two quotes are one.
func quoted(pattern string, i int) (text string, next int, err error) {
	if strings.HasPrefix(pattern[i:], "''") {
		return "'", i + 2, nil
	}
	var b strings.Builder
	for i++; i < len(pattern); i++ {
		if pattern[i] != '\'' {
			b.WriteByte(pattern[i])
			continue
		}
		if i+1 < len(pattern) && pattern[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, nil
	}
	return "", i, fmt.Errorf("Unterminated quote")
}

// Format formats t in its own zone.
func (f DateFormat) Format(t time.Time) string {
	var b strings.Builder
	for _, p := range f.parts {
		if p.letter == 0 {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(p.format(t))
	}
	return b.String()
}

func (p datePart) format(t time.Time) string {
	number := func(v int) string { return fmt.Sprintf("%0*d", p.count, v) }
	switch p.letter {
	case 'y':
		if p.count == 2 {
			return fmt.Sprintf("%02d", t.Year()%100)
		}
		return number(t.Year())
	case 'M':
		return p.month(t)
	case 'd':
		return number(t.Day())
	case 'D':
		return number(t.YearDay())
	case 'E':
		if p.count >= 4 {
			return t.Weekday().String()
		}
		return t.Weekday().String()[:3]
	case 'u':
		return number((int(t.Weekday())+6)%7 + 1)
	case 'a':
		return t.Format("PM")
	case 'H':
		return number(t.Hour())
	case 'k':
		return number((t.Hour()+23)%24 + 1)
	case 'K':
		return number(t.Hour() % 12)
	case 'h':
		return number((t.Hour()+11)%12 + 1)
	case 'm':
		return number(t.Minute())
	case 's':
		return number(t.Second())
	case 'S':
		return number(t.Nanosecond() / int(time.Millisecond))
	case 'z':
		return t.Format("MST")
	case 'Z':
		return t.Format("-0700")
	default: // 'X'
		return t.Format([]string{"Z07", "Z0700", "Z07:00"}[min(p.count, 3)-1])
	}
}

func (p datePart) month(t time.Time) string {
	switch {
	case p.count >= 4:
		return t.Month().String()
	case p.count == 3:
		return t.Month().String()[:3]
	}
	return fmt.Sprintf("%0*d", p.count, int(t.Month()))
}
