package eventstore

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// maxFileName is how long a file name may get. File systems take 255 bytes, with the endings that are added.
const maxFileName = 200

// path returns the file of a name.
func (s *FileCheckpoints) path(name string) string {
	return filepath.Join(s.dir, checkpointFileName(name))
}

// checkpointFileName makes a file name of a checkpoint name, another one for each. Upper case letters are escaped too,
// because some file systems do not tell them from lower case ones. The beginning and the end keep it from being a name
// that Windows reserves.
func checkpointFileName(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	escaped := b.String()
	if len(escaped) > maxFileName {
		sum := sha256.Sum256([]byte(name))
		sumText := hex.EncodeToString(sum[:])
		escaped = escaped[:maxFileName-len(sumText)-1] + "~" + sumText // nothing is escaped by ~
	}
	return "checkpoint-" + escaped + ".json"
}
