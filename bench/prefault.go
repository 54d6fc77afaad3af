package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// evenOutMemory writes a file of the given size in dir and deletes it. The
// pages that the next run's log will use are then pages that the guest has
// just touched: on a virtual machine, memory not touched lately must be given
// back by the host page by page, which costs several times what writing it
// costs, and the run that comes first would pay for all the others.
func evenOutMemory(ctx context.Context, dir string, size int64) error {
	f, err := os.CreateTemp(dir, "even-out-")
	if err != nil {
		return fmt.Errorf("cannot even out the memory: %w", err)
	}
	chunk := make([]byte, 1<<20)
	for left := size; left > 0 && err == nil && ctx.Err() == nil; left -= int64(len(chunk)) {
		_, err = f.Write(chunk[:min(left, int64(len(chunk)))])
	}
	if err := errors.Join(err, f.Close(), os.Remove(f.Name()), ctx.Err()); err != nil {
		return fmt.Errorf("cannot even out the memory with a file of %d bytes: %w", size, err)
	}
	return nil
}

// evenOutBytes is the size of that file for a run of runBytes: half of the
// memory is as much page cache as a run can hope to keep.
func evenOutBytes(runBytes, memoryBytes int64) int64 {
	if memoryBytes <= 0 {
		return runBytes
	}
	return min(runBytes, memoryBytes/2)
}
