package eventstore

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// maxFileName is the limit of a file name, in bytes. File systems allow 255, and endings are added to it.
const maxFileName = 200

// path returns the file of a name.
func (s *FileCheckpoints) path(name string) string {
	return filepath.Join(s.dir, checkpointFileName(name))
}

// checkpointFileName makes a file name of a checkpoint name, a different one for each. It also escapes upper case
// letters, because some file systems do not distinguish case. The first and the last part of the name prevent names
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
		escaped = escaped[:maxFileName-len(sumText)-1] + "~" + sumText // escaping makes no ~
	}
	return "checkpoint-" + escaped + ".json"
}
