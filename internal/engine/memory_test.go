package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMemoryKeepsItsCopies copies parts of all sizes, changes the originals, and grows the copies.
func TestMemoryKeepsItsCopies(t *testing.T) {
	t.Parallel()
	var m Memory
	lent := make([]byte, 2*largestPart)
	var copies, wanted [][]byte
	for i := range 2000 {
		part := lent[:rand.IntN(len(lent)>>rand.IntN(6))]
		for at := range part {
			part[at] = byte(i + at)
		}
		copies, wanted = append(copies, m.Copy(part)), append(wanted, bytes.Clone(part))
		_ = append(copies[len(copies)-1], 0xee) // goes elsewhere, not into the next copy
	}
	for i, want := range wanted {
		require.True(t, bytes.Equal(want, copies[i]), "part %d of %d bytes", i, len(want))
	}
}

func TestMemoryTellsNothingFromEmpty(t *testing.T) {
	t.Parallel()
	var m Memory
	assert.Nil(t, m.Copy(nil))
	empty := m.Copy(make([]byte, 10)[:0])
	assert.NotNil(t, empty)
	assert.Zero(t, cap(empty))
}
