package aws

func stsActions() map[string]action {
	return map[string]action{
		"GetCallerIdentity": xmlAction(serviceSTS, "GetCallerIdentity", (*Cloud).getCallerIdentity),
	}
}

type callerIdentity struct {
	UserID  string `x:"UserId"`
	Account string
	Arn     string
}

func (c *Cloud) getCallerIdentity(_ *struct{}) (*callerIdentity, error) {
	return &callerIdentity{
		UserID: "AIDASANDBOXSANDBOX123", Account: c.cfg.AccountID, Arn: "arn:aws:iam::" + c.cfg.AccountID + ":user/sandbox",
	}, nil
}
