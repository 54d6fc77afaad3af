package quorum

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"freshet/metadata"
	"freshet/vfs"
)

// initialControllersFile lies beside the metadata and says with which voters
// the group is founded: JSON of a list of Voters, empty for a controller that
// joins later. It counts only until there is metadata.
const initialControllersFile = "initial-controllers.json"

// WriteInitialControllers notes in metadata.log.dir, when the storage of a
// controller is formatted, who the first controllers are; none for one that
// joins a group that there is already.
func WriteInitialControllers(metadataLogDir string, voters []Voter) error {
	text, err := json.Marshal(append([]Voter{}, voters...))
	if err != nil {
		return fmt.Errorf("BUG: %w", err)
	}
	dir := filepath.Join(metadataLogDir, metadata.DirName)
	fsys := vfs.OS{}
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("create metadata directory %s: %w", dir, err)
	}
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, initialControllersFile), append(text, '\n'))
}

// ReadInitialControllers is what WriteInitialControllers wrote; ok is false
// when it did not.
func ReadInitialControllers(metadataLogDir string) (voters []Voter, ok bool, err error) {
	path := filepath.Join(metadataLogDir, metadata.DirName, initialControllersFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &voters)
	}
	if err != nil {
		return nil, false, fmt.Errorf("the initial controllers in %s cannot be read; format the storage again: %w", path, err)
	}
	return voters, true, nil
}
