"""The prompts that train and judge the classifiers of tags."""
