package page

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// readFile reads a file that the owner names. It fails if the file has more than most bytes.
func readFile(name string, most int) ([]byte, error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	content, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > most:
		return nil, fmt.Errorf("%s: must be at most %d KiB", name, most>>10)
	}
	return content, nil
}
