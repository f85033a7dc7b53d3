package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// changedJSON is the result of a change of a group.
type changedJSON struct {
	Stream string `json:"stream"`
	Group  string `json:"group"`
	Did    string `json:"did"` // created, updated, deleted or replayed
}

func newGroupCreate(c *cli) *cobra.Command {
	settings := esclient.DefaultPersistentSettings()
	cmd := &cobra.Command{
		Use: "create STREAM GROUP", Short: "Create a persistent subscription group", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeGroup(cmd.Context(), args, "created", func(ctx context.Context, es *esclient.Client) error {
				return es.CreatePersistent(ctx, args[0], args[1], settings)
			})
		},
	}
	settingsFlags(cmd, &settings)
	return cmd
}

func newGroupUpdate(c *cli) *cobra.Command {
	given := esclient.DefaultPersistentSettings()
	cmd := &cobra.Command{
		Use: "update STREAM GROUP", Short: "Change settings of a group", Args: cobra.ExactArgs(2),
		Long: "Change the settings of a group that are given; the others stay as they are. The server drops the\n" +
			"subscribers, which come back by themselves.",
	}
	copies := settingsFlags(cmd, &given)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		changed := false
		for name := range copies {
			changed = changed || cmd.Flags().Changed(name)
		}
		if !changed {
			return &usageError{errors.New("nothing to change: give a setting, such as --max-retries")}
		}
		return c.changeGroup(cmd.Context(), args, "updated", func(ctx context.Context, client *esclient.Client) error {
			settings, err := client.GroupSettings(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			cmd.Flags().Visit(func(flag *pflag.Flag) {
				if replace := copies[flag.Name]; replace != nil {
					replace(&settings, &given)
				}
			})
			return client.UpdatePersistent(ctx, args[0], args[1], settings)
		})
	}
	return cmd
}

func newGroupDelete(c *cli) *cobra.Command {
	return c.confirmed(&cobra.Command{
		Use: "delete STREAM GROUP", Short: "Delete a group, and with it how far it has got", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.confirm(cmd.Context(), "Delete group %s of stream %s?", args[1], args[0]); err != nil {
				return err
			}
			return c.changeGroup(cmd.Context(), args, "deleted", func(ctx context.Context, es *esclient.Client) error {
				return es.DeletePersistent(ctx, args[0], args[1])
			})
		},
	})
}

func (c *cli) changeGroup(
	ctx context.Context, args []string, did string, change func(context.Context, *esclient.Client) error,
) error {
	return c.withClient(ctx, func(client *esclient.Client) error {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		if err := change(ctx, client); err != nil {
			return err
		}
		return c.printOne(changedJSON{args[0], args[1], did},
			"%s group %s of stream %s", did, printable(args[1]), printable(args[0]))
	})
}

// settingsFlags adds the settings of a group to a command. It returns how to copy each of them, by the flag's name.
func settingsFlags(
	cmd *cobra.Command, s *esclient.PersistentSettings,
) map[string]func(dst, src *esclient.PersistentSettings) {
	type settings = esclient.PersistentSettings
	flags := cmd.Flags()
	flags.BoolVar(&s.ResolveLinks, "resolve", s.ResolveLinks, "deliver the events that links lead to")
	flags.Int64Var(&s.StartFrom, "start-from", s.StartFrom, "the number of the first event; -1 is the next new one")
	flags.DurationVar(&s.MessageTimeout, "message-timeout", s.MessageTimeout, "how long the server waits for an ack")
	flags.IntVar(&s.MaxRetryCount, "max-retries", s.MaxRetryCount, "how often an event is delivered again, then parked")
	flags.IntVar(&s.BufferSize, "buffer", s.BufferSize, "how many events the server holds for pushing")
	flags.IntVar(&s.LiveBufferSize, "live-buffer", s.LiveBufferSize, "how many of the newest events the server holds")
	flags.IntVar(&s.ReadBatchSize, "read-batch", s.ReadBatchSize, "how many events the server reads at a time")
	flags.DurationVar(&s.CheckpointAfter, "checkpoint-after", s.CheckpointAfter, "the least time between checkpoints")
	flags.IntVar(&s.CheckpointMinCount, "checkpoint-min", s.CheckpointMinCount, "the fewest events between checkpoints")
	flags.IntVar(&s.CheckpointMaxCount, "checkpoint-max", s.CheckpointMaxCount, "the most events between checkpoints")
	flags.IntVar(&s.MaxSubscriberCount, "max-subscribers", s.MaxSubscriberCount, "the most subscribers; 0 is no limit")
	flags.BoolVar(&s.RecordStatistics, "statistics", s.RecordStatistics, "have the server measure latencies")
	flags.StringVar((*string)(&s.Strategy), "strategy", string(s.Strategy), strings.Join(strategies, ", "))
	// The shell completes them; a name that no flag has is a mistake in this program.
	if err := cmd.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions(
		strategies, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
	return map[string]func(dst, src *settings){
		"resolve":          func(dst, src *settings) { dst.ResolveLinks = src.ResolveLinks },
		"start-from":       func(dst, src *settings) { dst.StartFrom = src.StartFrom },
		"message-timeout":  func(dst, src *settings) { dst.MessageTimeout = src.MessageTimeout },
		"max-retries":      func(dst, src *settings) { dst.MaxRetryCount = src.MaxRetryCount },
		"buffer":           func(dst, src *settings) { dst.BufferSize = src.BufferSize },
		"live-buffer":      func(dst, src *settings) { dst.LiveBufferSize = src.LiveBufferSize },
		"read-batch":       func(dst, src *settings) { dst.ReadBatchSize = src.ReadBatchSize },
		"checkpoint-after": func(dst, src *settings) { dst.CheckpointAfter = src.CheckpointAfter },
		"checkpoint-min":   func(dst, src *settings) { dst.CheckpointMinCount = src.CheckpointMinCount },
		"checkpoint-max":   func(dst, src *settings) { dst.CheckpointMaxCount = src.CheckpointMaxCount },
		"max-subscribers":  func(dst, src *settings) { dst.MaxSubscriberCount = src.MaxSubscriberCount },
		"statistics":       func(dst, src *settings) { dst.RecordStatistics = src.RecordStatistics },
		"strategy":         func(dst, src *settings) { dst.Strategy = src.Strategy },
	}
}

var strategies = []string{
	string(esclient.RoundRobin), string(esclient.DispatchToSingle), string(esclient.Pinned),
	string(esclient.PinnedByCorrelation),
}
