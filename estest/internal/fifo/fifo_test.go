package fifo

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A queue behaves like a slice for any sequence of operations.
func TestQueueIsASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue[int]
	var model []int
	for i := range 20_000 {
		switch n := rng.IntN(10); {
		case n < 5:
			q.Enqueue(i)
			model = append(model, i)
		case n < 9 && len(model) > 0:
			require.Equal(t, model[0], q.Peek())
			require.Equal(t, model[0], q.Dequeue())
			model = model[1:]
		case n == 9:
			back := make([]int, rng.IntN(40))
			for k := range back {
				back[k] = -i - k
			}
			q.PutBack(back)
			model = slices.Concat(back, model)
		}
		require.Equal(t, len(model), q.Len())
		if len(model) > 0 {
			k := rng.IntN(len(model))
			require.Equal(t, model[k], q.At(k))
		}
	}
	require.NotEmpty(t, model)
}

// The garbage collector can free elements that left the queue.
func TestQueueForgetsDequeuedValues(t *testing.T) {
	var q Queue[*int]
	for range 100 {
		q.Enqueue(new(int))
	}
	for q.Len() > 0 {
		q.Dequeue()
	}
	for _, v := range q.ring {
		require.Nil(t, v)
	}
}
