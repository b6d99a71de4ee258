"""Grades answers: by comparison, by running their code, by a judge, or by a function of the operator's."""
