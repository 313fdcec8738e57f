"""Trained policies that come with the package: one bundle in a folder each, `policy=zoo/NAME` wherever a policy is named."""
