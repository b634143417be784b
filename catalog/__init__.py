"""The pair catalog: Parquet tables, the SQL over them, and the files they live in.

Imports none of the other packages.
"""
