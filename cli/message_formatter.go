package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// messageFormatter prints records as Kafka's DefaultMessageFormatter does.
type messageFormatter struct {
	timestamp, partition, offset bool
	delivery, epoch, headers     bool
	key, value                   bool

	keySeparator, lineSeparator   []byte
	headersSeparator, nullLiteral []byte
	keyDes, valueDes, headersDes  deserializer
	scratch                       []byte
}

// newMessageFormatter reads the formatter's properties. A deserializer that
// does not exist is reported on warn and left out, as Kafka does.
func newMessageFormatter(props clientProps, warn io.Writer) *messageFormatter {
	f := &messageFormatter{value: true}
	for name, field := range map[string]*bool{
		"print.timestamp": &f.timestamp, "print.partition": &f.partition, "print.offset": &f.offset,
		"print.delivery": &f.delivery, "print.epoch": &f.epoch, "print.headers": &f.headers,
		"print.key": &f.key, "print.value": &f.value,
	} {
		if v, ok := props[name]; ok {
			*field = strings.EqualFold(strings.TrimSpace(v), "true")
		}
	}
	for name, field := range map[string]struct {
		to  *[]byte
		def string
	}{
		"key.separator": {&f.keySeparator, "\t"}, "line.separator": {&f.lineSeparator, "\n"},
		"headers.separator": {&f.headersSeparator, ","}, "null.literal": {&f.nullLiteral, "null"},
	} {
		*field.to = []byte(field.def)
		if v, ok := props[name]; ok {
			*field.to = []byte(v)
		}
	}
	for name, field := range map[string]*deserializer{
		"key.deserializer": &f.keyDes, "value.deserializer": &f.valueDes, "headers.deserializer": &f.headersDes,
	} {
		class, ok := props[name]
		if !ok {
			continue
		}
		d, err := findDeserializer(class)
		if err != nil {
			logError(warn, "org.apache.kafka.tools.consumer.DefaultMessageFormatter", "%v", err)
		}
		*field = d
	}
	return f
}

func (f *messageFormatter) write(w *bufio.Writer, r *kgo.Record) error {
	// Columns are separated by the key separator; the last one ends the line.
	keyOrValue := f.key || f.value
	if f.timestamp {
		f.scratch = appendTimestamp(f.scratch[:0], r)
		w.Write(f.scratch)
		f.separate(w, f.partition || f.offset || f.delivery || f.epoch || f.headers || keyOrValue)
	}
	if f.partition {
		f.number(w, "Partition:", int64(r.Partition))
		f.separate(w, f.offset || f.delivery || f.epoch || f.headers || keyOrValue)
	}
	if f.offset {
		f.number(w, "Offset:", r.Offset)
		f.separate(w, f.delivery || f.epoch || f.headers || keyOrValue)
	}
	if f.delivery {
		w.WriteString("Delivery:NOT_PRESENT")
		f.separate(w, f.epoch || f.headers || keyOrValue)
	}
	if f.epoch {
		// The console consumer of 4.3.1 drops the epoch before it formats.
		w.WriteString("Epoch:NOT_PRESENT")
		f.separate(w, f.headers || keyOrValue)
	}
	if f.headers {
		if err := f.writeHeaders(w, r); err != nil {
			return err
		}
		f.separate(w, keyOrValue)
	}
	if f.key {
		if err := f.field(w, r.Key, f.keyDes); err != nil {
			return err
		}
		f.separate(w, f.value)
	}
	if f.value {
		if err := f.field(w, r.Value, f.valueDes); err != nil {
			return err
		}
		_, err := w.Write(f.lineSeparator)
		return err
	}
	return nil
}

func (f *messageFormatter) separate(w *bufio.Writer, more bool) {
	if more {
		w.Write(f.keySeparator)
	} else {
		w.Write(f.lineSeparator)
	}
}

func (f *messageFormatter) number(w *bufio.Writer, label string, n int64) {
	w.WriteString(label)
	f.scratch = strconv.AppendInt(f.scratch[:0], n, 10)
	w.Write(f.scratch)
}

func (f *messageFormatter) field(w *bufio.Writer, b []byte, d deserializer) error {
	if b == nil {
		b = f.nullLiteral
	}
	if d != nil {
		var err error
		if b, err = d(b); err != nil {
			return &formatError{err}
		}
	}
	_, err := w.Write(b)
	return err
}

func (f *messageFormatter) writeHeaders(w *bufio.Writer, r *kgo.Record) error {
	if len(r.Headers) == 0 {
		_, err := w.WriteString("NO_HEADERS")
		return err
	}
	for i, h := range r.Headers {
		if i > 0 {
			w.Write(f.headersSeparator)
		}
		w.WriteString(h.Key)
		w.WriteByte(':')
		if err := f.field(w, h.Value, f.headersDes); err != nil {
			return err
		}
	}
	return nil
}

// appendTimestamp writes the timestamp with its type.
func appendTimestamp(b []byte, r *kgo.Record) []byte {
	switch r.Attrs.TimestampType() {
	case 0:
		b = append(b, "CreateTime:"...)
	case 1:
		b = append(b, "LogAppendTime:"...)
	default:
		return append(b, "NO_TIMESTAMP"...)
	}
	return strconv.AppendInt(b, r.Timestamp.UnixMilli(), 10)
}

// formatError is a record that its deserializer refuses.
type formatError struct{ error }

// noFormatter prints nothing: org.apache.kafka.tools.consumer.NoOpMessageFormatter.
type noFormatter struct{}

func (noFormatter) write(*bufio.Writer, *kgo.Record) error { return nil }

// loggingFormatter prints as messageFormatter and logs each record besides.
type loggingFormatter struct {
	*messageFormatter
	log io.Writer
}

func (f *loggingFormatter) write(w *bufio.Writer, r *kgo.Record) error {
	if err := f.messageFormatter.write(w, r); err != nil {
		return err
	}
	line := ""
	if r.Attrs.TimestampType() >= 0 {
		line = string(appendTimestamp(nil, r)) + ", "
	}
	key, value := "null ", "null"
	if r.Key != nil {
		key = string(r.Key) + ", "
	}
	if r.Value != nil {
		value = string(r.Value)
	}
	_, err := fmt.Fprintf(f.log, "[%s] INFO %skey:%svalue:%s (org.apache.kafka.tools.consumer.LoggingMessageFormatter)\n",
		time.Now().Format("2006-01-02 15:04:05,000"), line, key, value)
	return err
}
