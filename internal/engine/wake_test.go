package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Many calls go round in three parts of about the same size, few calls in one.
func TestPartsOfWokenReceivers(t *testing.T) {
	for _, c := range []struct{ n, pending, part int }{
		{1, 0, 1},
		{2, 0, 2},
		{20, 0, 20},
		{27, 0, 27},
		{28, 0, 14},
		{64, 0, 22},
		{43, 21, 22},
		{21, 43, 21},
		{32, 32, 32},
		{256, 0, 86},
		{3, 500, 3},
	} {
		assert.Equal(t, c.part, partSize(c.n, c.pending), "%d of %d", c.n, c.n+c.pending)
	}
}
