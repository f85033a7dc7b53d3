package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// userChangedJSON is the result of a change of a user.
type userChangedJSON struct {
	Login string `json:"login"`
	Did   string `json:"did"` // created, updated, deleted, enabled, disabled, or given a password
}

// changed has the past participles of the verbs.
var changed = map[string]string{
	"create": "created", "update": "updated", "delete": "deleted", "enable": "enabled", "disable": "disabled",
	"passwd": "given a password",
}

// changeUser asks whether to do it, does it, and says so.
func (c *cli) changeUser(
	cmd *cobra.Command, login string, change func(context.Context, *esclient.Client, *esadmin.Client) error,
) error {
	verb := cmd.Name()
	if err := c.confirm(cmd.Context(), "User %s: %s?", login, verb); err != nil {
		return err
	}
	return c.withAdmin(cmd.Context(), func(ctx context.Context, client *esclient.Client, admin *esadmin.Client) error {
		if err := change(ctx, client, admin); err != nil {
			return err
		}
		return c.printOne(userChangedJSON{login, changed[verb]}, "user %s %s", printable(login), changed[verb])
	})
}

func newUsersChange(
	c *cli, verb, short string, change func(*esadmin.Client, context.Context, string) error,
) *cobra.Command {
	return c.confirmed(&cobra.Command{
		Use: verb + " LOGIN", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeUser(cmd, args[0], func(ctx context.Context, _ *esclient.Client, a *esadmin.Client) error {
				return change(a, ctx, args[0])
			})
		},
	})
}

func newUsersCreate(c *cli) *cobra.Command {
	var (
		user esadmin.User
		file string
	)
	cmd := &cobra.Command{
		Use: "create LOGIN", Short: "Create a user; asks for the password", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			user.Login = args[0]
			password, err := c.newPassword(cmd.Context(), file, user.Login)
			if err != nil {
				return err
			}
			return c.changeUser(cmd, args[0], func(ctx context.Context, _ *esclient.Client, a *esadmin.Client) error {
				return a.CreateUser(ctx, user, password)
			})
		},
	}
	cmd.Flags().StringVar(&user.FullName, "name", "", "the full name")
	cmd.Flags().StringArrayVar(&user.Groups, "group", nil, "a group that the user is in; may be repeated")
	newPasswordFlag(cmd, &file)
	return c.confirmed(cmd)
}

func newUsersUpdate(c *cli) *cobra.Command {
	var given esadmin.User
	cmd := &cobra.Command{
		Use: "update LOGIN", Short: "Change the full name or the groups of a user", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeUser(cmd, args[0], func(ctx context.Context, _ *esclient.Client, a *esadmin.Client) error {
				user, err := a.User(ctx, args[0])
				if err != nil {
					return err
				}
				if cmd.Flags().Changed("name") {
					user.FullName = given.FullName
				}
				if cmd.Flags().Changed("group") {
					user.Groups = given.Groups
				}
				return a.UpdateUser(ctx, user)
			})
		},
	}
	cmd.Flags().StringVar(&given.FullName, "name", "", "the full name")
	cmd.Flags().StringArrayVar(&given.Groups, "group", nil, "a group that the user is in, instead of those so far")
	return c.confirmed(cmd)
}

func newUsersPasswd(c *cli) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "passwd LOGIN", Short: "Give a user another password; asks for it", Args: cobra.ExactArgs(1),
		Long: "Give a user another password. The user of the connection needs no right for its own.",
		RunE: func(cmd *cobra.Command, args []string) error {
			next, err := c.newPassword(cmd.Context(), file, args[0])
			if err != nil {
				return err
			}
			return c.changeUser(cmd, args[0], func(ctx context.Context, es *esclient.Client, a *esadmin.Client) error {
				if own := es.Config().Credentials; own != nil && own.Login == args[0] {
					return a.ChangePassword(ctx, args[0], own.Password, next)
				}
				return a.ResetPassword(ctx, args[0], next)
			})
		},
	}
	newPasswordFlag(cmd, &file)
	return c.confirmed(cmd)
}

func newPasswordFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "new-password-file", "", "file whose first line is the password, instead of the prompt")
}
