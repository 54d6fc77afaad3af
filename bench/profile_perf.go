package bench

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet/bench/flame"
)

// PerfAvailable reports whether the perf tool is installed; whether it may
// look at a process is only known once it tries.
func PerfAvailable() bool {
	_, err := exec.LookPath("perf")
	return err == nil
}

// perfHz is perf's sampling rate, a prime so that it does not beat with timers.
const perfHz = 499

// PerfRecording is a perf record of one process, running or waiting.
type PerfRecording struct {
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	dir     string
	control *os.File // commands to perf
	answers *os.File
	symbols *goSymbols
}

// StartPerf attaches perf to a process and starts recording; it returns when
// perf says that it does.
func StartPerf(pid int) (*PerfRecording, error) {
	dir, err := os.MkdirTemp("", "freshet-perf-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for perf's data: %w", err)
	}
	r := &PerfRecording{dir: dir}
	if err := r.start(pid); err != nil {
		r.discard()
		return nil, err
	}
	return r, nil
}

func (r *PerfRecording) start(pid int) error {
	var err error
	if r.symbols, err = loadGoSymbols(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
		return err
	}
	commands, control, err := os.Pipe()
	if err != nil {
		return err
	}
	defer commands.Close()
	r.control = control
	answers, ack, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ack.Close()
	r.answers = answers
	r.cmd = exec.Command("perf", "record", "--quiet", "-g", "-F", strconv.Itoa(perfHz), "-p", strconv.Itoa(pid),
		"-o", r.dataFile(), "-D", "-1", "--control=fd:3,4")
	r.cmd.Stderr = &r.stderr
	r.cmd.ExtraFiles = []*os.File{commands, ack}
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start perf: %w", err)
	}
	// perf's end of the answers must not stay open here, or reading would
	// outlast it.
	ack.Close()
	if err := r.command("enable"); err != nil {
		return fmt.Errorf("perf does not record (see kernel.perf_event_paranoid): %w: %s", err, strings.TrimSpace(r.stderr.String()))
	}
	return nil
}

func (r *PerfRecording) dataFile() string { return filepath.Join(r.dir, "perf.data") }

// perfAnswerTimeout is how long perf may take to attach.
const perfAnswerTimeout = 20 * time.Second

// command sends perf a word and waits for its "ack".
func (r *PerfRecording) command(word string) error {
	if _, err := r.control.WriteString(word + "\n"); err != nil {
		return err
	}
	if err := r.answers.SetReadDeadline(time.Now().Add(perfAnswerTimeout)); err != nil {
		return err
	}
	_, err := bufio.NewReader(r.answers).ReadString('\n')
	return err
}

// Stop ends the recording and returns its stacks, the kernel's frames above
// the process's own.
func (r *PerfRecording) Stop(ctx context.Context) (*flame.Stacks, error) {
	defer r.discard()
	if err := r.command("disable"); err != nil {
		return nil, fmt.Errorf("perf ended early: %w: %s", err, strings.TrimSpace(r.stderr.String()))
	}
	r.cmd.Process.Signal(os.Interrupt)
	err := r.cmd.Wait() // perf passes the interruption on as its own end
	r.cmd = nil
	if _, statErr := os.Stat(r.dataFile()); statErr != nil {
		return nil, errors.Join(fmt.Errorf("perf recorded nothing: %s", strings.TrimSpace(r.stderr.String())), err)
	}
	script := exec.CommandContext(ctx, "perf", "script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i", r.dataFile())
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		return nil, fmt.Errorf("perf script failed: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return flame.ReadPerfScript(bytes.NewReader(out), r.symbols.name)
}

// discard ends perf if it still runs and removes its data.
func (r *PerfRecording) discard() {
	if r.cmd != nil && r.cmd.Process != nil {
		r.cmd.Process.Kill()
		r.cmd.Wait()
	}
	for _, f := range []*os.File{r.control, r.answers} {
		if f != nil {
			f.Close()
		}
	}
	os.RemoveAll(r.dir)
}

// goSymbols name the functions of a Go binary by the table that the Go runtime
// itself needs, which is there in stripped binaries too.
type goSymbols struct {
	table *gosym.Table // nil for a binary that is not Go's
	file  string       // base name
	// code are the segments that are executed: perf tells a user frame's place
	// in the file, the table wants its place in memory.
	code []elf.ProgHeader
}

func loadGoSymbols(path string) (*goSymbols, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return nil, fmt.Errorf("cannot find the process's binary: %w", err)
	}
	s := &goSymbols{file: filepath.Base(target)}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the process's binary: %w", err)
	}
	defer f.Close()
	lines, text := f.Section(".gopclntab"), f.Section(".text")
	if lines == nil || text == nil || f.Type != elf.ET_EXEC {
		return s, nil
	}
	data, err := lines.Data()
	if err != nil {
		return nil, fmt.Errorf("cannot read the function table of %s: %w", s.file, err)
	}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_LOAD && segment.Flags&elf.PF_X != 0 {
			s.code = append(s.code, segment.ProgHeader)
		}
	}
	if s.table, err = gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr)); err != nil {
		return nil, fmt.Errorf("cannot read the function table of %s: %w", s.file, err)
	}
	return s, nil
}

// name finds the function at an address of the binary, "" if there is none.
func (s *goSymbols) name(frame flame.PerfFrame) string {
	if s.table == nil || filepath.Base(frame.Object) != s.file {
		return ""
	}
	for _, segment := range s.code {
		if frame.Address < segment.Off || frame.Address >= segment.Off+segment.Filesz {
			continue
		}
		if fn := s.table.PCToFunc(frame.Address - segment.Off + segment.Vaddr); fn != nil {
			return fn.Name
		}
	}
	return ""
}
