package storage

import (
	"errors"
	"fmt"
	"sync"

	"freshet/vfs"
)

// createWorkers is how many partitions are made at once: their syncs wait for
// the disk together instead of one after the other.
const createWorkers = 8

// wholeSyncFrom is the number of partitions from which one sync of the whole
// file system is cheaper than two for each of them.
const wholeSyncFrom = 64

// Create makes the log of a new partition, in the online directory with the
// fewest partitions (Kafka's choice). topicID may be nil.
func (m *LogManager) Create(tp TopicPartition, topicID *UUID, config LogConfig) (*Log, error) {
	if err := m.CreateAll([]TopicPartition{tp}, topicID, config); err != nil {
		return nil, err
	}
	return m.Get(tp), nil
}

// CreateAll is Create for many partitions of one topic, each named once. On an
// error the logs that could be made are there, the others are not.
func (m *LogManager) CreateAll(tps []TopicPartition, topicID *UUID, config LogConfig) error {
	if len(tps) == 0 {
		return nil
	}
	if err := config.Validate(); err != nil {
		return fmt.Errorf("create log of %s: %w", tps[0], err)
	}
	m.createMu.Lock()
	defer m.createMu.Unlock()
	if m.isClosed() {
		return ErrLogClosed
	}
	for _, tp := range tps {
		if m.Get(tp) != nil {
			return fmt.Errorf("%w: %s", ErrLogExists, tp)
		}
	}
	dirs, err := m.pickDirs(len(tps))
	if err != nil {
		return err
	}
	whole, err := m.openWholes(dirs)
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range whole {
			_ = w.Close()
		}
	}()
	logs := make([]*Log, len(tps))
	errs := make([]error, len(tps))
	var workers sync.WaitGroup
	for w := range min(createWorkers, len(tps)) {
		workers.Go(func() {
			for i := w; i < len(tps); i += createWorkers {
				if logs[i], errs[i] = createLog(m.params(dirs[i], tps[i], config), topicID, whole != nil); errs[i] != nil {
					errs[i] = fmt.Errorf("create log of %s in %s: %w", tps[i], dirs[i].path, errs[i])
					return
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(firstError(errs), m.registerCreated(tps, dirs, logs, whole))
}

// firstError is the first of errs that is one: a full disk fails many
// partitions in the same way.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// openWholes opens the file systems of the directories in which many partitions
// are made: nil if they are few or cannot be synced as a whole.
func (m *LogManager) openWholes(dirs []*logDirState) (map[*logDirState]vfs.Whole, error) {
	if len(dirs) < m.wholeFrom {
		return nil, nil
	}
	wholes := make(map[*logDirState]vfs.Whole)
	for _, d := range dirs {
		if _, open := wholes[d]; open {
			continue
		}
		w, err := vfs.OpenWhole(m.config.FS, d.path)
		if err != nil {
			for _, w := range wholes {
				_ = w.Close()
			}
			if errors.Is(err, errors.ErrUnsupported) {
				return nil, nil
			}
			return nil, fmt.Errorf("create logs in %s: %w", d.path, err)
		}
		wholes[d] = w
	}
	return wholes, nil
}

// registerCreated makes the new directories durable, once for each log
// directory, and the logs known: their own entries, or with whole everything in
// them. logs[i] is nil if it was not made. createMu is held.
func (m *LogManager) registerCreated(tps []TopicPartition, dirs []*logDirState, logs []*Log, whole map[*logDirState]vfs.Whole) error {
	synced := make(map[*logDirState]error)
	for i, d := range dirs {
		if _, done := synced[d]; done || logs[i] == nil {
			continue
		}
		if whole != nil {
			synced[d] = whole[d].SyncAll()
		} else {
			synced[d] = m.config.FS.SyncDir(d.path)
		}
	}
	var errs []error
	for d, err := range synced {
		if err != nil {
			errs = append(errs, fmt.Errorf("create logs in %s: %w", d.path, err))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, l := range logs {
		if l != nil && synced[dirs[i]] == nil {
			l.segments.Load().active().dirSynced.Store(true)
			m.logs[tps[i]] = l
			m.counts[dirs[i]]++
		}
	}
	return errors.Join(errs...)
}

// pickDirs chooses directories for n new partitions, each time the online one
// with the fewest.
func (m *LogManager) pickDirs(n int) ([]*logDirState, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	taken := make(map[*logDirState]int, len(m.dirs))
	picked := make([]*logDirState, n)
	for i := range picked {
		var best *logDirState
		for _, d := range m.dirs {
			if !d.failed() && (best == nil || m.counts[d]+taken[d] < m.counts[best]+taken[best]) {
				best = d
			}
		}
		if best == nil {
			return nil, fmt.Errorf("%w: every log directory is offline", ErrLogDirFailed)
		}
		taken[best]++
		picked[i] = best
	}
	return picked, nil
}
