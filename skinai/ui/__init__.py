"""The only room of the package that imports Streamlit."""
