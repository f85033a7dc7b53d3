package eventstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// brokenStore fails each call.
type brokenStore struct{ err error }

func (s brokenStore) Load(context.Context, string) (esclient.Checkpoint, error) {
	return esclient.Checkpoint{}, s.err
}
func (s brokenStore) Save(context.Context, string, esclient.Checkpoint) error { return s.err }

// TestTheLoggerGetsTheFirstFailuresOfAStore has a store that fails for hours, on a clock of the test.
func TestTheLoggerGetsTheFirstFailuresOfAStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := watermill.NewCaptureLogger()
		cfg := SubscriberConfig{Checkpoints: brokenStore{errors.New("no database")}, SubscriberName: "readmodel"}
		cfg.setCheckpointDefaults()
		cfg.CheckpointTimeout = 3 * time.Hour
		k := newCheckpointKeeper(t.Context(), &cfg, "topic", "topic", log)
		defer k.cancel()
		err := k.load(t.Context())
		var failed *CheckpointError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, "load", failed.Op)
		told := log.Captured()[watermill.ErrorLogLevel]
		require.Len(t, told, 3)
		for i, failures := range []int{1, 10, 100} {
			assert.Equal(t, "Cannot load the checkpoint: trying again", told[i].Msg)
			assert.Equal(t, failures, told[i].Fields["failures"])
			assert.Equal(t, "readmodel/topic", told[i].Fields["checkpoint_name"])
		}
	})
}
